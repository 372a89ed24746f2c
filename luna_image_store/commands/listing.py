"""Listing of a bucket. A listing that fails ends early and is reported."""

from collections.abc import Iterator
from typing import TypeVar

from luna_image_store.commands.report import Report
from luna_image_store.errors import BucketNotFound, ServiceError

Item = TypeVar("Item")


def list_all(bucket: str, listing: Iterator[Item], report: Report | None = None) -> Iterator[Item]:
    """Yield the items of a listing. Report an incomplete listing, unless the bucket was deleted in the meantime."""
    try:
        yield from listing
    except BucketNotFound:
        pass
    except ServiceError as ex:
        if report:
            report.unlisted(bucket, ex)
