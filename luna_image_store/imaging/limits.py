"""Limits on the cost of decoding. They are checked before memory is allocated."""

import time

from luna_image_store.errors import TooManyPixels

MAX_SIDE = 65_500  # pixels of a stored JPEG
DECODING_SECONDS = 1.5  # of CPU time, for decoders written in Python
PIXELS_PER_SECOND = 30_000_000  # minimum speed of libjpeg
MAX_SCANNED_PIXELS = 4_000_000_000  # each pixel counts once per scan of a JPEG


class Deadline:
    """A limit on the CPU time of this thread. Loops in Python over untrusted bytes check it repeatedly.

    `pixels` is the number of pixels that libraries decode within such a loop. It extends the limit.
    """

    def __init__(self, pixels: int = 0) -> None:
        self._end = time.thread_time() + DECODING_SECONDS + pixels / PIXELS_PER_SECOND

    def check(self) -> None:
        """Raise ValueError if the time is used up."""
        if time.thread_time() > self._end:
            raise ValueError("decoding takes too long")


def check_pixels(pixels: int, max_pixels: float) -> None:
    """Raise TooManyPixels if `pixels` is above the limit."""
    if pixels > max_pixels:
        raise TooManyPixels(pixels, max_pixels)


def check_sides(size: tuple[int, int]) -> None:
    """Raise ValueError if no JPEG can have these sides."""
    if not 1 <= min(size) <= max(size) <= MAX_SIDE:
        raise ValueError("a side is 0, or longer than a JPEG can have")
