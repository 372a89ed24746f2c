"""Generated image files."""

import random
from io import BytesIO

from PIL import Image


def noise_image(width: int = 300, height: int = 200, image_format: str = "JPEG", seed: int = 0) -> bytes:
    """Encode an image of coarse noise, which does not compress well."""
    size = width // 4 + 1, height // 4 + 1
    coarse = Image.frombytes("RGB", size, random.Random(seed).randbytes(size[0] * size[1] * 3))
    encoded = BytesIO()
    coarse.resize((width, height)).save(encoded, image_format)
    return encoded.getvalue()


def with_comment(jpeg: bytes, text: str) -> bytes:
    """Insert a comment into a JPEG, so that it differs from others without being encoded again."""
    comment = text.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + jpeg[2:]


def jpeg_size(data: bytes) -> tuple[int, int]:
    with Image.open(BytesIO(data)) as image:
        assert image.format == "JPEG"
        image.load()
        return image.size
