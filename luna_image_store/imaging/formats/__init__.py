"""One module per format: what Pillow does otherwise than an image store needs it."""
