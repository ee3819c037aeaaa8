"""Integrations: one leaf for each trainer of others, which is imported by its own name only."""
