"""Writes the payloads of a bucket to files."""
