"""Errors of S3 and of the connection to it, as ServiceErrors.

The log gets the S3 operation, the bucket and the message of S3. The client gets only the purpose of the request.
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
    "EntityTooLarge",  # Swift's code for an exceeded quota; parts and small objects are below the size limit
}

logger = logging.getLogger(__name__)


class AccessDenied(StorageUnavailable):
    """The credentials do not allow the request."""


class BucketNotEmpty(StorageUnavailable):
    """S3 does not delete the bucket because it is not empty."""


class InvalidRange(StorageUnavailable):
    """The object has no bytes in the requested range."""


class NotSupported(StorageUnavailable):
    """The S3 service does not support the request."""


class UploadNotFound(StorageUnavailable):
    """A multipart upload was aborted by another client, such as by the deletion of its bucket."""


class RecordReplaced(StorageUnavailable):
    """The record was replaced between two requests that need the same version."""


STATUSES = {403: AccessDenied, 408: StorageTimeout, 501: NotSupported, 504: StorageTimeout, 507: StorageFull}


class S3Response(dict[str, Any]):
    """The fields of a response. Raise StorageUnavailable for a missing field."""

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
    """Log an exception of boto3, and raise a ServiceError in its place."""
    try:
        yield
    except Exception as ex:  # botocore raises many types if the response is not from S3
        if error := _expected_error(_code(ex), purpose, bucket, key):
            if isinstance(error, RecordReplaced):
                logger.warning("storage: %s: %s %s: the record was replaced between two requests", purpose, method, bucket)
            raise error from ex
        logger.error("storage: %s: %s %s: %s: %s", purpose, method, bucket, type(ex).__name__, " ".join(str(ex).split()))
        raise error_for(_code(ex), ex)(purpose) from ex


def error_for(code: str, ex: Exception | None = None) -> type[ServiceError]:
    """Return the error for a code of S3, or for an exception of boto3."""
    if code in TIMEOUT_CODES or any(isinstance(cause, TIMEOUTS) for cause in _causes(ex)):
        return StorageTimeout
    if code in FULL_CODES:
        return StorageFull
    status = ex.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if isinstance(ex, ClientError) else 0
    return STATUSES.get(status, StorageUnavailable)


def _causes(ex: object) -> Iterator[BaseException]:
    """Yield an exception and its causes, which botocore and urllib3 pass as arguments."""
    if isinstance(ex, BaseException):
        yield ex
        for inner in (*ex.args, getattr(ex, "kwargs", {}).get("error")):
            yield from _causes(inner)


def _code(ex: Exception) -> str:
    return str(ex.response.get("Error", {}).get("Code", "")) if isinstance(ex, ClientError) else ""


def _expected_error(code: str, purpose: str, bucket: str, key: Key | None) -> ServiceError | None:
    """Return the error for a code that is not a failure of S3. The code of HEAD is the status: it has no body."""
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
            return InvalidRange(purpose)
        case "NoSuchUpload":
            return UploadNotFound(purpose)
        case _:
            return None
