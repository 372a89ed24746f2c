"""Writes the records of a bucket to files."""
