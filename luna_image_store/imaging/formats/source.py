"""The interface of all formats: a parsed header, and pixels on demand."""

from abc import ABC, abstractmethod
from typing import ClassVar

from PIL import Image


class Source(ABC):
    """An image with a parsed header. No pixels are in memory.

    `size` is the stored width and height. `orientation` is 1 to 8, as in EXIF. `profile` is an ICC profile.
    """

    format: ClassVar[str]
    size: tuple[int, int]
    orientation: int = 1
    profile: bytes | None = None

    @property
    def pixels(self) -> int:
        """Return the number of pixels in memory while the image is decoded."""
        return self.size[0] * self.size[1]

    @abstractmethod
    def decode(self) -> Image.Image:
        """Return all pixels, not rotated, in any mode of Pillow. Raise any error if the file is broken or truncated."""
