"""Fill a storage with very many records, as hard links to a few files."""

import os
import shutil
from pathlib import Path
from uuid import uuid4

LINKS_PER_FILE = 60_000  # ext4 allows 65,000


def fill(root: Path, bucket: str, count: int) -> None:
    """Link the only record of a bucket to `count` new ids, distributed over the shards."""
    images = root / bucket / "images"
    source = next(images.glob("*/*.jpg"))
    for shard in range(256):
        (images / f"{shard:02x}").mkdir(exist_ok=True)
    for number in range(count):
        if number % LINKS_PER_FILE == 0:
            copy = root / f"copy-{number}"
            shutil.copy(source, copy)
        name = str(uuid4())
        os.link(copy, f"{images}/{name[:2]}/{name}.jpg")
