"""TIFF: the first page. libtiff unpacks its strips or tiles to samples; all else, from directory to colors, is done here."""
