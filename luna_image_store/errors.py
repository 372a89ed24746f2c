"""Every error of the interface, and the exceptions that carry one.

ServiceError
├── the request is invalid: InvalidRequest BadQuery ParameterMissing PageNotFound MethodNotAllowed BadContentType
│                           UnsupportedMediaType NotAcceptable BodyEmpty BodyMismatch PayloadTooLarge
│                           JsonMissing FieldMissing JsonInvalid TooManyIds BadImage TooManyPixels
├── something is missing:   BucketNotFound RecordNotFound
│                           └── ImageNotFound ObjectNotFound
├── there is a conflict:    BucketExists OwnerMismatch
└── the service fails:      InternalError ManualMissing StorageUnavailable StorageTimeout StorageFull RecordDamaged NotReady

The docstring of each class explains the error to clients; `remedy` lists the actions of the operator. Both are part of the table of
errors in the manual. Codes 139xx are additions of this service; all others are codes of the published interface.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

BAD_INPUT = "Bad/incomplete input data"


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """One row of the table of errors; `detail` is a format string."""

    status: int
    code: int
    desc: str
    detail: str


class ServiceError(Exception):
    """Base of all errors that a client can get."""

    spec: ClassVar[ErrorSpec]
    remedy: ClassVar[str]
    retry_after: ClassVar[int | None] = None  # seconds

    def __init__(self, *values: object) -> None:
        self.detail = self.spec.detail.format(*values)
        super().__init__(self.detail)

    @classmethod
    def kinds(cls) -> list[type["ServiceError"]]:
        """List all errors that have a code, by code."""
        below = [kind for direct in cls.__subclasses__() for kind in (direct, *direct.kinds())]
        return sorted((kind for kind in below if "spec" in vars(kind)), key=lambda kind: kind.spec.code)

    def body(self) -> dict[str, Any]:
        """Return the JSON body of the response."""
        return {"error_code": self.spec.code, "desc": self.spec.desc, "detail": self.detail}


class InternalError(ServiceError):
    """An error in the service itself. The log has a traceback with the request id."""

    spec = ErrorSpec(500, 1, "Internal server error", "Unknown error")
    remedy = (
        "Search the log for the request id. The line `unhandled error` or `unhandled error in the server` has a traceback. "
        "Report the error with this traceback. Restart the service only if every request fails."
    )


class JsonMissing(ServiceError):
    """The body is empty or not JSON."""

    spec = ErrorSpec(400, 12002, BAD_INPUT, "Request does not contain json")
    remedy = 'The client must send a JSON object, such as `{"images": []}`.'


class FieldMissing(ServiceError):
    """The JSON body lacks a required field."""

    spec = ErrorSpec(400, 12003, BAD_INPUT, "Field {} not found in json")
    remedy = "The client must send the field that the detail names: `images` or `objects`."


class BadQuery(ServiceError):
    """The named query parameters have invalid values."""

    spec = ErrorSpec(400, 12012, BAD_INPUT, "Bad query parameters {}")
    remedy = (
        "The client must correct the parameters that the detail names. On S3, the name of a new bucket must also follow the rules "
        "of S3."
    )


class PageNotFound(ServiceError):
    """The path does not exist, or a bucket name or an id in it is malformed."""

    spec = ErrorSpec(404, 12013, "Resource not found", "Page not found")
    remedy = "Compare the path with `/docs/spec`. If it is correct, nginx may have changed it: look at the access log of nginx."


class ParameterMissing(ServiceError):
    """A required query parameter is missing."""

    spec = ErrorSpec(400, 12014, BAD_INPUT, "Required parameters {} not found")
    remedy = "The client must send the parameter that the detail names."


class BadContentType(ServiceError):
    """An object has no Content-Type, or an image has one that is not an image type."""

    spec = ErrorSpec(400, 12017, BAD_INPUT, "Bad content type")
    remedy = (
        "The client must correct the header. For an image it can omit the header; for an object it must send a type of "
        "`/docs/spec`."
    )


class MethodNotAllowed(ServiceError):
    """The path does not support this method. The Allow header lists the supported methods."""

    spec = ErrorSpec(405, 12021, "Method not allowed", "Method not allowed")
    remedy = (
        "The client must use another method. If the method is `OPTIONS`, a browser asks for CORS. The service does not support "
        "CORS; nginx can answer such requests."
    )

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__()
        self.allowed = allowed


class JsonInvalid(ServiceError):
    """A value in the JSON body is invalid. The detail has its path."""

    spec = ErrorSpec(400, 12022, BAD_INPUT, "Failed to validate input json. Path: '{}' message: '{}'")
    remedy = "The client must correct this value. No part of the request was executed."


class NotAcceptable(ServiceError):
    """The Accept header allows none of the available types."""

    spec = ErrorSpec(406, 12023, BAD_INPUT, "Content type is unacceptable allowed types: '{}'")
    remedy = "The client must accept one of the types that the detail lists."


class UnsupportedMediaType(ServiceError):
    """Objects of this Content-Type are not supported."""

    spec = ErrorSpec(415, 12024, BAD_INPUT, "Unsupported media type")
    remedy = "The client must send one of the types of `/docs/spec`."


class BodyMismatch(ServiceError):
    """The body does not match its Content-Type."""

    spec = ErrorSpec(400, 12025, BAD_INPUT, "Specified content type does not match data type")
    remedy = (
        "The file is damaged, or the client sends the wrong type: correct one of the two. `text/plain` must be UTF-8 unless "
        "`charset` names another encoding."
    )


class BodyEmpty(ServiceError):
    """The request has no body."""

    spec = ErrorSpec(400, 12030, BAD_INPUT, "Request does not contain data")
    remedy = "The client must send a body. If it does, a proxy drops the body: look at the access log and the error log of nginx."


class ManualMissing(ServiceError):
    """The development manual is not installed."""

    spec = ErrorSpec(500, 12032, "Internal server error", "Document file not found")
    remedy = "Stored data is not affected. Install the wheel, which contains the manual, or run `make docs` in the source tree."


class InvalidRequest(ServiceError):
    """A header is invalid, or the request is incomplete."""

    spec = ErrorSpec(400, 12046, BAD_INPUT, "Invalid http request: {}")
    remedy = (
        "The detail names the header. If many requests are incomplete, look for `client timeout` in the log, and check the "
        "timeouts of nginx. A log line `request refused by the server` means that the request was not valid HTTP."
    )


class RecordNotFound(ServiceError):
    """No record has this id. Base of the errors for images and for objects."""


class ImageNotFound(RecordNotFound):
    """No image has this id, or the image belongs to another account."""

    spec = ErrorSpec(404, 13003, "Object not found", "Image with id {} not found")
    remedy = (
        "Send the request without `account_id`. If it finds the image, the image belongs to another account. Otherwise search "
        "the access log of nginx for a `DELETE` of the image or its bucket, because the log of the service has no "
        "ids. If it was deleted by mistake, restore it from a backup."
    )


class BucketExists(ServiceError):
    """A bucket with this name already exists."""

    spec = ErrorSpec(409, 13006, "Unique constraint error", "Bucket with name {} already exist")
    remedy = "The client can use the existing bucket. On Amazon S3, another AWS account may own this name: choose another name."


class ObjectNotFound(RecordNotFound):
    """No object has this id, or the object belongs to another account."""

    spec = ErrorSpec(404, 13007, "Object not found", "Object with id {} not found")
    remedy = (
        "Send the request without `account_id`. If it finds the object, the object belongs to another account. Otherwise search "
        "the access log of nginx for a `DELETE` of the object or its bucket, because the log of the service has no "
        "ids. If it was deleted by mistake, restore it from a backup."
    )


class BadImage(ServiceError):
    """The image cannot be decoded, is truncated, or has an unsupported format."""

    spec = ErrorSpec(400, 18002, BAD_INPUT, "Failed convert bytes to jpg")
    remedy = (
        "Open the file in an image viewer: it is damaged, truncated, or not an image of a supported format. If the service "
        "refuses a valid file, keep the file and report it."
    )


class BucketNotFound(ServiceError):
    """No bucket has this name."""

    spec = ErrorSpec(404, 13901, "Bucket not found", "Bucket with name {} not found")
    remedy = (
        "If all buckets are missing, the disk was not mounted when the service started, or `LOCAL_STORAGE.PATH` is wrong: "
        "compare `/config` with the mounts. If one bucket is missing, search the access log of nginx for its `DELETE`. On a "
        "disk, a bucket needs both of its directories, `images` and `objects`."
    )


class TooManyIds(ServiceError):
    """A bulk request has too many ids."""

    spec = ErrorSpec(400, 13902, BAD_INPUT, "No more than 1000 ids are allowed, {} given")
    remedy = "The client must send several requests."


class PayloadTooLarge(ServiceError):
    """The body is larger than IMAGES.MAX_SIZE or OBJECTS.MAX_SIZE."""

    spec = ErrorSpec(413, 13903, "Payload too large", "The limit is {} bytes")
    remedy = (
        "To accept larger uploads, raise the setting and `client_max_body_size` of nginx, and reload both. A status 413 without "
        "this JSON body comes from nginx."
    )


class OwnerMismatch(ServiceError):
    """The record that a PUT would replace belongs to another account."""

    spec = ErrorSpec(403, 13904, "Forbidden", "Id {} belongs to another account")
    remedy = "The client must use another id. Nothing was changed."


class StorageUnavailable(ServiceError):
    """The storage reports an error. The log has the operation and the reason."""

    spec = ErrorSpec(503, 13905, "Storage is unavailable", "{}")
    remedy = (
        "Search the log for the request id: the line `storage: <operation>: <reason>` has the cause. On a disk, check owner and "
        "mode of the directory, the mount, and `dmesg`. On S3, check the S3 service, the network, the keys and the clock. The "
        "service recovers without a restart when the cause is removed. `Retry-After` is the time after which the client can try "
        "again. The save may be complete in spite of the error: send the PUT again."
    )
    retry_after = 5


class StorageTimeout(ServiceError):
    """The storage did not answer in time."""

    spec = ErrorSpec(504, 13906, "Storage timeout", "{}")
    remedy = (
        "Search the log for the request id: the line `storage: <operation>: <reason>` has the cause. Check whether the S3 "
        "service or the network is slow. The save may be complete in spite of the error: send the PUT again. Find the cause "
        "before you raise `S3.READ_TIMEOUT`."
    )


class StorageFull(ServiceError):
    """The storage has no free space or no free inodes, or a quota is reached. The record was not saved."""

    spec = ErrorSpec(507, 13907, "Insufficient storage", "{}")
    remedy = (
        "Check `df -h` and `df -i` for `LOCAL_STORAGE.PATH`, and free space or inodes. On S3, raise the quota. The service still "
        "reads and deletes records. A deleted bucket frees its space in the background. No restart is needed."
    )


class TooManyPixels(ServiceError):
    """The image has more pixels than IMAGES.MAX_PIXELS."""

    spec = ErrorSpec(400, 13908, BAD_INPUT, "The picture has {} pixels, the limit is {}")  # codespell:ignore
    remedy = "To accept larger images, raise the setting. A worker needs up to 16 bytes of memory per pixel."


class RecordDamaged(ServiceError):
    """The stored record is damaged and is not sent."""

    spec = ErrorSpec(500, 13909, "Stored data is damaged", "Id {}")
    remedy = (
        "Search the log for `damaged record`: the line has kind, id, bucket and reason. Restore the file from a backup, replace "
        "the record with a PUT, or delete it. Delete it without `account_id`, because the owner cannot be read. If several "
        "records are damaged, the disk may be failing: check `dmesg` and SMART."
    )


class NotReady(ServiceError):
    """Only `/readyz`: the service is draining, or the storage does not work. The detail has the reason."""

    spec = ErrorSpec(503, 13910, "Service is not ready", "{}")
    remedy = (
        "The detail has the reason. `the service is draining`: an operator ran `luna-image-store drain`, or the file "
        "`HTTP.DRAIN_FILE` still exists. `luna-image-store drain --cancel` removes it; with systemd, remove it with `rm`. "
        "`storage: ...`: follow the steps for 13905 or 13906; `/healthcheck` has the error."
    )
    retry_after = 5
