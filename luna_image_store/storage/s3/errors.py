"""What S3, or the way to it, refuses, as errors of the interface.

The log gets the S3 operation, the bucket and S3's own words; a client learns the purpose of the request only.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from luna_image_store.errors import BucketExists, BucketNotFound, ServiceError, StorageFull, StorageTimeout, StorageUnavailable
from luna_image_store.storage.base import Key

TIMEOUTS = (ConnectTimeoutError, ReadTimeoutError, TimeoutError)
TIMEOUT_CODES = {"RequestTimeout", "GatewayTimeout", "408", "504"}
FULL_CODES = {
    "507",
    "InsufficientStorage",
    "QuotaExceeded",
    "TooManyBuckets",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "EntityTooLarge",  # of a part or a small object: Swift's words for a quota that is used up
}

logger = logging.getLogger(__name__)


class AccessRefused(StorageUnavailable):
    """S3 knows the request, and these credentials may not make it."""


class BucketNotEmpty(StorageUnavailable):
    """A bucket that is to be deleted holds something."""


class RangeRefused(StorageUnavailable):
    """The object has no bytes in the range that was asked for."""


class RequestUnknown(StorageUnavailable):
    """S3 is one of those that do not know what was asked for."""


class UploadGone(StorageUnavailable):
    """A multipart upload is over: aborted by another, for one by the deletion of its bucket."""


class RecordReplaced(StorageUnavailable):
    """A record was replaced between two requests that had to see the same one."""


STATUSES = {403: AccessRefused, 408: StorageTimeout, 501: RequestUnknown, 504: StorageTimeout, 507: StorageFull}


class Answer(dict[str, Any]):
    """The fields of an answer. One that is missing is a fault of the server."""

    def __init__(self, purpose: str, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self._purpose = purpose

    def __missing__(self, field: str) -> Any:
        if "Body" in self:
            self["Body"].close()
        logger.error("storage: %s: the S3 response has no %s", self._purpose, field)
        raise StorageUnavailable(self._purpose)


@contextmanager
def s3_errors(purpose: str, method: str, bucket: str = "", key: Key | None = None) -> Iterator[None]:
    """Turn what boto3 raises into errors of the interface."""
    try:
        yield
    except Exception as ex:  # botocore lets all kinds out where an answer is not one of S3
        if told := _told(_code(ex), purpose, bucket, key):
            if isinstance(told, RecordReplaced):
                logger.warning("storage: %s: %s %s: the record was replaced between two requests", purpose, method, bucket)
            raise told from ex
        logger.error("storage: %s: %s %s: %s: %s", purpose, method, bucket, type(ex).__name__, " ".join(str(ex).split()))
        raise error_of(_code(ex), ex)(purpose) from ex


def error_of(code: str, ex: Exception | None = None) -> type[ServiceError]:
    """Find the error for a code of S3, or for what else went wrong."""
    if code in TIMEOUT_CODES or any(isinstance(cause, TIMEOUTS) for cause in _causes(ex)):
        return StorageTimeout
    if code in FULL_CODES:
        return StorageFull
    status = ex.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if isinstance(ex, ClientError) else 0
    return STATUSES.get(status, StorageUnavailable)


def _causes(ex: object) -> Iterator[BaseException]:
    """Go down to what happened first; botocore and urllib3 wrap it in arguments."""
    if isinstance(ex, BaseException):
        yield ex
        for inner in (*ex.args, getattr(ex, "kwargs", {}).get("error")):
            yield from _causes(inner)


def _code(ex: Exception) -> str:
    return str(ex.response.get("Error", {}).get("Code", "")) if isinstance(ex, ClientError) else ""


def _told(code: str, purpose: str, bucket: str, key: Key | None) -> ServiceError | None:
    """Make the error of what is no fault; HEAD has no body, and its code is the status."""
    match code:
        case "NoSuchBucket":
            return BucketNotFound(bucket)
        case "NoSuchKey" | "404":
            return key.not_found() if key else BucketNotFound(bucket)
        case "BucketAlreadyExists" | "BucketAlreadyOwnedByYou":
            return BucketExists(bucket)
        case "BucketNotEmpty":
            return BucketNotEmpty(purpose)
        case "PreconditionFailed" | "ConditionalRequestConflict" | "412":
            return RecordReplaced(purpose)
        case "InvalidRange" | "416":
            return RangeRefused(purpose)
        case "NoSuchUpload":
            return UploadGone(purpose)
        case _:
            return None
