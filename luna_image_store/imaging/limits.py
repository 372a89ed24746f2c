"""What decoding will cost, checked before anything is allocated, and what it may cost at most."""

import time

from luna_image_store.errors import TooManyPixels

MAX_SIDE = 65_500  # pixels that a JPEG of ours can have
DECODING_SECONDS = 1.5  # of CPU time, for decoders that are written in Python
PIXELS_PER_SECOND = 30_000_000  # that libjpeg decodes, at the least
MAX_SCANNED_PIXELS = 4_000_000_000  # each pixel counts once per scan of a JPEG


class Deadline:
    """A limit on the CPU time of this thread, which loops in Python over untrusted bytes check again and again.

    `pixels` that libraries decode within such a loop make it later.
    """

    def __init__(self, pixels: int = 0) -> None:
        self._end = time.thread_time() + DECODING_SECONDS + pixels / PIXELS_PER_SECOND

    def check(self) -> None:
        """Raise ValueError where the time is used up."""
        if time.thread_time() > self._end:
            raise ValueError("decoding takes too long")


def check_pixels(pixels: int, max_pixels: float) -> None:
    """Raise TooManyPixels."""
    if pixels > max_pixels:
        raise TooManyPixels(pixels, max_pixels)


def check_sides(size: tuple[int, int]) -> None:
    """Raise ValueError where no JPEG can have these sides."""
    if not 1 <= min(size) <= max(size) <= MAX_SIDE:
        raise ValueError("a side is 0, or longer than a JPEG can have")
