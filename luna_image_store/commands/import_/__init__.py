"""Stores the images of a directory."""
