"""Training loop, step, optimizers and the checkpoints of a run."""
