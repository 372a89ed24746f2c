"""From the bytes of an image to a JPEG and its previews: the only room with Pillow. It knows errors and nothing else."""
