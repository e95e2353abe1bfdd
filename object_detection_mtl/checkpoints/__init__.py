"""Find, read and convert checkpoints; restore weights from them."""
