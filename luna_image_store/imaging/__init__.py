"""Conversion of an image file to a JPEG with previews. Only this package imports Pillow."""
