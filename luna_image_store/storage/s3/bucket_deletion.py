"""Deletion of S3 buckets. The objects are deleted first, page by page: within the request, then in the background.

The state of a deletion is not stored. After an interruption, the client deletes the bucket again, and the deletion continues.
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
from luna_image_store.storage.s3.errors import BucketNotEmpty, error_for

MIN_PAUSE, MAX_PAUSE = 0.05, 1.0  # seconds between attempts
INVALID_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # DeleteObjects cannot name them

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeletionLimits:
    """The limits of a deletion. `max_attempts`: how often it tries to delete a bucket that appears empty.

    One request lists or deletes at most 1000 objects. Many attempts are needed: clients may still write, and listings may be stale.
    """

    seconds_in_request: float = 5.0
    page_size: int = 1000
    max_attempts: int = 200


DEFAULT_LIMITS = DeletionLimits()


class BucketDeletions:
    """The bucket deletions of this process."""

    def __init__(self, s3: S3Client, limits: DeletionLimits) -> None:
        self._s3 = s3
        self._limits = limits
        self._running: set[str] = set()
        self._lock = Lock()

    def is_running(self, bucket: str) -> bool:
        """Return whether a bucket is being deleted. Records of a new bucket with its name would be deleted too."""
        return bucket in self._running

    def delete(self, bucket: str) -> None:
        """Delete a bucket. Return when it is deleted, or when the deletion continues in the background."""
        self._s3("delete bucket", "head_bucket", bucket)
        with self._lock:
            if bucket in self._running:
                return
            self._running.add(bucket)
        steps = self._steps(bucket)
        deadline = time.monotonic() + self._limits.seconds_in_request
        with ExitStack() as at_end:
            at_end.callback(self._running.discard, bucket)
            if not all(time.monotonic() < deadline for _ in steps):
                Thread(target=copy_context().run, args=(self._finish, bucket, steps), daemon=True).start()
                at_end.pop_all()

    def _finish(self, bucket: str, steps: Iterator[None]) -> None:
        """Run the remaining steps."""
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
        """Delete a bucket. Each step is a page or an attempt. If another process deletes the bucket first, that is a success."""
        with suppress(BucketNotFound):
            for attempt in range(self._limits.max_attempts):
                last = ""
                while (first := self._delete_page(bucket)) and first != last:  # a page that does not change ends the attempt
                    last = first
                    yield
                yield from _abort_uploads(self._s3, bucket)
                try:
                    self._s3("delete bucket", "delete_bucket", bucket)
                    self._s3("delete bucket", "head_bucket", bucket)  # on Swift, a save in progress creates the bucket again
                except BucketNotEmpty:
                    pass
                yield
                time.sleep(min(MIN_PAUSE * 2**attempt, MAX_PAUSE))
            logger.error("storage: delete bucket: %s is not empty: it keeps old versions, or clients still write to it", bucket)
            raise StorageUnavailable("delete bucket")

    def _delete_page(self, bucket: str) -> str | None:
        """Delete the objects of the first page. Return the first name, or None if there are no more pages."""
        page = self._s3("delete bucket", "list_objects_v2", bucket, MaxKeys=self._limits.page_size)
        has_more, names = page["IsTruncated"], [entry["Key"] for entry in page.get("Contents", ())]
        if batch := [name for name in names if not INVALID_IN_XML.search(name)]:
            delete_objects(self._s3, "delete bucket", bucket, batch)
        for name in filter(INVALID_IN_XML.search, names):
            self._s3("delete bucket", "delete_object", bucket, Key=name)
        return names[0] if names and has_more else None


def _abort_uploads(s3: S3Client, bucket: str) -> Iterator[None]:
    """Abort the first page of incomplete uploads."""
    for upload in s3("delete bucket", "list_multipart_uploads", bucket).get("Uploads", ()):
        with suppress(StorageUnavailable):  # the upload was completed or aborted in the meantime
            name, upload_id = upload["Key"], upload["UploadId"]
            s3("delete bucket", "abort_multipart_upload", bucket, Key=name, UploadId=upload_id)
        yield


def delete_objects(s3: S3Client, purpose: str, bucket: str, names: list[str]) -> None:
    """Delete up to 1000 objects with one request. Skip missing objects."""
    response = s3(purpose, "delete_objects", bucket, Delete={"Objects": [{"Key": name} for name in names], "Quiet": True})
    errors = [error for error in response.get("Errors", ()) if error.get("Code") != "NoSuchKey"]
    if errors:
        code = str(errors[0].get("Code"))
        logger.error("storage: %s: %d of %d objects in %s were not deleted: %s", purpose, len(errors), len(names), bucket, code)
        raise error_for(code)(purpose)
