"""What runs a detector's graph: TensorFlow, or another runtime that is faster on a processor."""
