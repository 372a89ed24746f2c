"""Deleting buckets of S3, which must be empty for it: page by page, at first within the request, then in the background.

Nothing is kept of what has been done: a deletion that was cut off is asked for again, and goes on with what is left.
"""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from contextvars import copy_context
from dataclasses import dataclass
from threading import Lock, Thread

from luna_image_store.errors import BucketNotFound, ServiceError, StorageUnavailable
from luna_image_store.storage.s3.client import S3Client
from luna_image_store.storage.s3.errors import BucketNotEmpty, error_of

PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between tries
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # nor in a deletion of many

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeletionLimits:
    """How far a deletion goes: seconds within the request, objects of a page, tries to delete a bucket that looked empty.

    S3 lists and deletes 1000 objects at most with one request. Many tries are needed: writers may go on, and listings lag behind.
    """

    seconds_in_request: float = 5.0
    page: int = 1000
    tries: int = 200


DEFAULT_LIMITS = DeletionLimits()


class BucketDeletions:
    """The deletions of buckets that run in this process."""

    def __init__(self, s3: S3Client, limits: DeletionLimits) -> None:
        self._s3 = s3
        self._limits = limits
        self._running: set[str] = set()
        self._lock = Lock()

    def is_running(self, bucket: str) -> bool:
        """Tell whether the deletion of a bucket is not over: what is saved in one of its name would go, too."""
        return bucket in self._running

    def remove(self, bucket: str) -> None:
        """Delete a bucket; return when it is gone, or when the background has taken over."""
        self._s3("delete bucket", "head_bucket", bucket)
        with self._lock:
            if bucket in self._running:
                return
            self._running.add(bucket)
        steps = self._steps(bucket)
        until = time.monotonic() + self._limits.seconds_in_request
        with ExitStack() as at_end:
            at_end.callback(self._running.discard, bucket)
            if not all(time.monotonic() < until for _ in steps):
                Thread(target=copy_context().run, args=(self._finish, bucket, steps), daemon=True).start()
                at_end.pop_all()

    def _finish(self, bucket: str, steps: Iterator[None]) -> None:
        """Go through the steps that are left."""
        logger.info("bucket %s is large, its deletion continues in the background", bucket)
        try:
            for _ in steps:
                pass
            logger.info("bucket %s is deleted", bucket)
        except ServiceError as ex:
            logger.error("bucket %s is only partly deleted: %s; delete it again to continue", bucket, ex)
        finally:
            self._running.discard(bucket)

    def _steps(self, bucket: str) -> Iterator[None]:
        """Delete a bucket, a page or a try per step. Others may be at it too: that it is gone is what was wanted."""
        with suppress(BucketNotFound):
            for tried in range(self._limits.tries):
                last = ""
                while (first := self._delete_page(bucket)) and first != last:  # a page that stays as it is counts as a try
                    last = first
                    yield
                yield from _abort_uploads(self._s3, bucket)
                try:
                    self._s3("delete bucket", "delete_bucket", bucket)
                    self._s3("delete bucket", "head_bucket", bucket)  # on Swift, a save that was on its way brings the bucket back
                except BucketNotEmpty:
                    pass
                yield
                time.sleep(min(PAUSE * 2**tried, LONGEST_PAUSE))
            logger.error("storage: delete bucket: %s is not empty: it keeps old versions, or clients still write to it", bucket)
            raise StorageUnavailable("delete bucket")

    def _delete_page(self, bucket: str) -> str | None:
        """Delete what the first page of the listing has; give its first name where there are more pages."""
        page = self._s3("delete bucket", "list_objects_v2", bucket, MaxKeys=self._limits.page)
        has_more, names = page["IsTruncated"], [entry["Key"] for entry in page.get("Contents", ())]
        if together := [name for name in names if not NOT_IN_XML.search(name)]:
            delete_objects(self._s3, "delete bucket", bucket, together)
        for name in filter(NOT_IN_XML.search, names):
            self._s3("delete bucket", "delete_object", bucket, Key=name)
        return names[0] if names and has_more else None


def _abort_uploads(s3: S3Client, bucket: str) -> Iterator[None]:
    """Abort the first page of unfinished uploads."""
    for unfinished in s3("delete bucket", "list_multipart_uploads", bucket).get("Uploads", ()):
        with suppress(StorageUnavailable):  # it has been finished or aborted meanwhile
            name, upload_id = unfinished["Key"], unfinished["UploadId"]
            s3("delete bucket", "abort_multipart_upload", bucket, Key=name, UploadId=upload_id)
        yield


def delete_objects(s3: S3Client, purpose: str, bucket: str, names: list[str]) -> None:
    """Delete up to 1000 objects in one request; those that are missing are passed over."""
    answer = s3(purpose, "delete_objects", bucket, Delete={"Objects": [{"Key": name} for name in names], "Quiet": True})
    faults = [fault for fault in answer.get("Errors", ()) if fault.get("Code") != "NoSuchKey"]
    if faults:
        code = str(faults[0].get("Code"))
        logger.error("storage: %s: %d of %d objects in %s were not deleted: %s", purpose, len(faults), len(names), bucket, code)
        raise error_of(code)(purpose)
