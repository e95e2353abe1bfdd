"""Detection metrics, error analysis and evaluation of checkpoints."""
