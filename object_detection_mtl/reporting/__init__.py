"""Evaluation reports: numbers that explain a detector, one HTML page, comparisons of detectors."""
