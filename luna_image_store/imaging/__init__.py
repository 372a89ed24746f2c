"""From the bytes of an image to a JPEG and its previews: the only package that imports Pillow."""
