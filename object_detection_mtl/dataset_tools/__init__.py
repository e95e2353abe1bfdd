"""Converters of datasets to TFRecords."""
