"""Pictures made on the fly."""

import random
from io import BytesIO

from PIL import Image


def picture(width: int = 300, height: int = 200, form: str = "JPEG", seed: int = 0) -> bytes:
    """Make a picture that does not compress away: coarse noise."""
    coarse = Image.frombytes(
        "RGB", (width // 4 + 1, height // 4 + 1), random.Random(seed).randbytes((width // 4 + 1) * (height // 4 + 1) * 3)
    )
    target = BytesIO()
    coarse.resize((width, height)).save(target, form)
    return target.getvalue()


def marked(jpeg: bytes, text: str) -> bytes:
    """Make a JPEG differ from all others, cheaply: by a comment."""
    comment = text.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + jpeg[2:]


def size_of(data: bytes) -> tuple[int, int]:
    with Image.open(BytesIO(data)) as image:
        assert image.format == "JPEG"
        image.load()
        return image.size
