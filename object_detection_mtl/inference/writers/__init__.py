"""Output of a detection run: drawings, COCO JSON, TFRecords."""
