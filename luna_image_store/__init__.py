"""Keep pictures and objects in buckets, behind the HTTP interface Luna-image-store 3.8.4."""

__version__ = "3.8.4"
