"""Input of a detection run: images from files, TFRecords and videos."""
