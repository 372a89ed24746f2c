"""Reads every record and reports what is damaged."""
