"""Counts what a storage holds."""
