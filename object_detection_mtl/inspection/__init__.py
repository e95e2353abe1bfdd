"""Inspection of the auxiliary labels of a dataset."""
