"""Commands: one module per console script."""
