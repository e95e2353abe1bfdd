"""Evaluation reports as HTML pages, and comparisons of detectors."""
