"""Heads of the second stage."""
