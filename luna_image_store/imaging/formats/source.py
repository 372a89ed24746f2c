"""What every format gives: the header of an image that has been read, and its pixels on demand."""

from abc import ABC, abstractmethod
from typing import ClassVar

from PIL import Image


class Source(ABC):
    """An image whose header has been read and none of whose pixels are in memory.

    `size` is the width and height as they are stored. `orientation` is 1 to 8, as in EXIF. `profile` is an ICC profile.
    """

    format: ClassVar[str]
    size: tuple[int, int]
    orientation: int = 1
    profile: bytes | None = None

    @property
    def pixels(self) -> int:
        """Return how many pixels are in memory while the image is decoded."""
        return self.size[0] * self.size[1]

    @abstractmethod
    def decode(self) -> Image.Image:
        """Return all pixels, not yet upright, in any mode of Pillow; raise any error where the file is broken or cut short."""
