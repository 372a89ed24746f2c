"""An image store: images and objects in buckets, with the HTTP interface Luna-image-store 3.8.4."""

__version__ = "3.8.4"
