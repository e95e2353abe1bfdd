"""Transformations of the frozen graph."""
