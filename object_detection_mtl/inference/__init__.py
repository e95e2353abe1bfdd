"""Detection on image files, TFRecords and videos."""
