"""A check of the loaded Pillow, and its configuration for the process, with its public settings only."""

import ctypes
import warnings
from contextlib import suppress

import PIL
from PIL import Image, features

MIN_PLAIN_VERSION = (12, 3)


def pillow_problem(allow_plain: bool) -> str | None:
    """Return a description of the problem with the loaded Pillow, or None."""
    if ".post" not in PIL.__version__:
        if not allow_plain:
            return f"plain Pillow {PIL.__version__} is loaded: install Pillow-SIMD in its place, or set IMAGES.ALLOW_PLAIN_PILLOW"
        if tuple(int(part) for part in PIL.__version__.split(".")[:2]) < MIN_PLAIN_VERSION:
            return f"plain Pillow {PIL.__version__} is loaded: IMAGES.ALLOW_PLAIN_PILLOW requires 12.3 or later"
    missing = [feature for feature in ("jpg", "zlib", "libtiff", "littlecms2") if not features.check(feature)]
    if missing:
        return f"Pillow {PIL.__version__} was built without {', '.join(missing)}; build it with their headers installed"
    return None


def configure_pillow() -> None:
    """Register the JPEG encoder, and keep warnings about broken uploads off stderr.

    Pillow's own limit on pixels stays active in addition to IMAGES.MAX_PIXELS.
    """
    Image.preinit()
    warnings.filterwarnings("ignore", module=r"PIL\.")
    with suppress(OSError, AttributeError):  # if Pillow was built without libtiff
        libtiff = ctypes.CDLL(Image.core.__file__)  # type: ignore[attr-defined]  # the C module that is linked to it
        libtiff.TIFFSetErrorHandler(None)
