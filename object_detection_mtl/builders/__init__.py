"""Objects from configuration messages."""
