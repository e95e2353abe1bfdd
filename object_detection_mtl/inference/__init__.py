"""Detecting on picture files: find and read them, run a model, write what it found."""
