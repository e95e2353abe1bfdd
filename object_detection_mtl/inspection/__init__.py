"""Looking at the labels of a dataset."""
