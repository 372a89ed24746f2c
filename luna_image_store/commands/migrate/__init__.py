"""Copies all records of one storage to another."""
