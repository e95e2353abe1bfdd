"""Looking at the labels of a data set."""
