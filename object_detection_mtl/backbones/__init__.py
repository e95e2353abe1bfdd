"""Feature extractors and their registry."""
