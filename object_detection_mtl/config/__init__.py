"""Config schema, dialects, validation and label maps."""
