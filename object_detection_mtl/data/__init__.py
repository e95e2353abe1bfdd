"""Input pipeline: records, decoding, augmentation, batches."""
