"""Going through what a storage lists: to the end, whatever of it can't be listed."""

from collections.abc import Iterator
from typing import TypeVar

from luna_image_store.commands.report import Report
from luna_image_store.errors import BucketNotFound, ServiceError

Found = TypeVar("Found")


def listed(bucket: str, found: Iterator[Found], report: Report | None = None) -> Iterator[Found]:
    """Pass on what is listed of a bucket, and report where it is not all. A bucket that was deleted meanwhile has no more."""
    try:
        yield from found
    except BucketNotFound:
        pass
    except ServiceError as ex:
        if report:
            report.unlisted(bucket, ex)
