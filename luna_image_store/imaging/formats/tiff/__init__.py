"""TIFF: the first page. libtiff decompresses strips and tiles to samples; this package does the rest."""
