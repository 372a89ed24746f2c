"""Counts the records of a storage."""
