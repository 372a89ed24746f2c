"""Names of buckets and records on S3. Records: `images/<id>.jpg` and `objects/<id>`."""

import re
from functools import lru_cache

from luna_image_store.storage.base import Key, Kind, is_id

RULES = {
    "it must have 3 to 63 characters": re.compile(".{3,63}"),
    "it must be made of a-z, 0-9 and hyphens": re.compile("[a-z0-9-]*"),
    "it must begin and end with a letter or digit": re.compile("(?!-).*(?<!-)"),
    "it must not begin with xn--, sthree- or amzn-s3-demo-": re.compile("(?!xn--|sthree-|amzn-s3-demo-).*"),
    "it must not end with -s3alias, --ol-s3, --x-s3 or --table-s3": re.compile(
        "(?!.*(-s3alias|--ol-s3|--x-s3|--table-s3)$).*",
    ),
}


@lru_cache(1024)
def bucket_name_problem(bucket: str) -> str | None:
    """Return the rule of S3 that a bucket name violates, or None."""
    return next((rule for rule, pattern in RULES.items() if not pattern.fullmatch(bucket)), None)


def name_of(key: Key) -> str:
    """Return the name of the S3 object of a record."""
    return f"{key.kind.folder}/{key.id}{key.kind.ending}"


def key_of(kind: Kind, name: str) -> Key | None:
    """Return the key for the name of an S3 object, or None if it is not the name of a record."""
    key = Key(kind, name.removeprefix(f"{kind.folder}/").removesuffix(kind.ending))
    return key if is_id(key.id) and name_of(key) == name else None
