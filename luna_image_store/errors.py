"""Every error of the interface, and the exceptions that carry one.

ServiceError
├── what the client sent:  InvalidRequest BadQuery ParameterMissing PageNotFound MethodNotAllowed BadContentType
│                          UnsupportedMediaType NotAcceptable BodyEmpty BodyMismatch PayloadTooLarge
│                          JsonMissing FieldMissing JsonInvalid TooManyIds BadImage TooManyPixels
├── what is not there:     BucketNotFound RecordNotFound
│                          └── ImageNotFound ObjectNotFound
├── what stands against:   BucketExists OwnerMismatch
└── what went wrong here:  InternalError ManualMissing StorageUnavailable StorageTimeout StorageFull RecordDamaged NotReady

The docstring of each class says what it means, and is shown to clients too; `remedy` says what whoever runs the service does about
it. Both are rendered into the manual's table of errors. Codes 139xx are our own; the others are the published ones.
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
    """Base of all errors that a client can see."""

    spec: ClassVar[ErrorSpec]
    remedy: ClassVar[str]
    retry_after: ClassVar[int | None] = None  # seconds

    def __init__(self, *values: object) -> None:
        self.detail = self.spec.detail.format(*values)
        super().__init__(self.detail)

    @classmethod
    def kinds(cls) -> list[type["ServiceError"]]:
        """List all errors that have a row, by code."""
        below = [kind for direct in cls.__subclasses__() for kind in (direct, *direct.kinds())]
        return sorted((kind for kind in below if "spec" in vars(kind)), key=lambda kind: kind.spec.code)

    def body(self) -> dict[str, Any]:
        """Give the JSON body of the answer."""
        return {"error_code": self.spec.code, "desc": self.spec.desc, "detail": self.detail}


class InternalError(ServiceError):
    """A fault of the service itself. The log holds a traceback under the request id."""

    spec = ErrorSpec(500, 1, "Internal server error", "Unknown error")
    remedy = (
        "Search the log for the request id: the line `unexpected fault` or `ended by a fault of the server` has the "
        "traceback. Report it with that. Restart only if every request fails."
    )


class JsonMissing(ServiceError):
    """The body is empty or not JSON."""

    spec = ErrorSpec(400, 12002, BAD_INPUT, "Request does not contain json")
    remedy = 'The client\'s fault. It has to send a JSON object, such as `{"images": []}`.'


class FieldMissing(ServiceError):
    """The JSON body lacks a field that is needed."""

    spec = ErrorSpec(400, 12003, BAD_INPUT, "Field {} not found in json")
    remedy = "The client's fault. It has to send the field that the detail names: `images` or `objects`."


class BadQuery(ServiceError):
    """The named query parameters have values that are not allowed."""

    spec = ErrorSpec(400, 12012, BAD_INPUT, "Bad query parameters {}")
    remedy = "The client's fault: the detail names the parameters. On S3 the name of a new bucket has to keep S3's rules too."


class PageNotFound(ServiceError):
    """There is nothing at this path; also: a bucket name or an id that is not well-formed."""

    spec = ErrorSpec(404, 12013, "Resource not found", "Page not found")
    remedy = "Compare the path with `/docs/spec`. If it is right, nginx may have changed it: look at its access log."


class ParameterMissing(ServiceError):
    """A query parameter that is needed was not given."""

    spec = ErrorSpec(400, 12014, BAD_INPUT, "Required parameters {} not found")
    remedy = "The client's fault: the detail names the parameter."


class BadContentType(ServiceError):
    """An object came without Content-Type, or a picture with one that is not a picture's."""

    spec = ErrorSpec(400, 12017, BAD_INPUT, "Bad content type")
    remedy = "The client's fault. For a picture it can leave the header out; for an object it has to name a type of `/docs/spec`."


class MethodNotAllowed(ServiceError):
    """The path does not have this method; the Allow header lists those it has."""

    spec = ErrorSpec(405, 12021, "Method not allowed", "Method not allowed")
    remedy = (
        "The client's fault. If it was `OPTIONS`, a browser asked for CORS, which this service does not do; nginx can answer it."
    )

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__()
        self.allowed = allowed


class JsonInvalid(ServiceError):
    """A value in the JSON body is not allowed; the path says which one."""

    spec = ErrorSpec(400, 12022, BAD_INPUT, "Failed to validate input json. Path: '{}' message: '{}'")
    remedy = "The client's fault. Nothing of its request was done."


class NotAcceptable(ServiceError):
    """Accept admits none of the types in which the answer exists."""

    spec = ErrorSpec(406, 12023, BAD_INPUT, "Content type is unacceptable allowed types: '{}'")
    remedy = "The client's fault: the detail has the types that it may ask for."


class UnsupportedMediaType(ServiceError):
    """Objects of this Content-Type are not taken."""

    spec = ErrorSpec(415, 12024, BAD_INPUT, "Unsupported media type")
    remedy = "The client's fault. It has to send one of the types of `/docs/spec`."


class BodyMismatch(ServiceError):
    """The body is not what its Content-Type says."""

    spec = ErrorSpec(400, 12025, BAD_INPUT, "Specified content type does not match data type")
    remedy = (
        "The client's fault: its file is broken, or it names the wrong type. Only `text/plain` in UTF-8 is taken, unless "
        "`charset` says otherwise."
    )


class BodyEmpty(ServiceError):
    """The request has no body."""

    spec = ErrorSpec(400, 12030, BAD_INPUT, "Request does not contain data")
    remedy = "The client's fault. If it did send a body, something on the way dropped it: look at nginx's access and error log."


class ManualMissing(ServiceError):
    """The development manual was not built: `make docs` builds it."""

    spec = ErrorSpec(500, 12032, "Internal server error", "Document file not found")
    remedy = "No harm to data. Install the wheel, which has the manual, or type `make docs` in the sources."


class InvalidRequest(ServiceError):
    """A header is not allowed, or the request broke off."""

    spec = ErrorSpec(400, 12046, BAD_INPUT, "Invalid http request: {}")
    remedy = (
        "The detail says which header. If many requests break off, look for slow clients, `a client was too slow and is "
        "given up` in the log, and at nginx's timeouts. A line `refused before it reached the application` means that it was "
        "not HTTP."
    )


class RecordNotFound(ServiceError):
    """No record has this id: base of the two errors that name its kind."""


class ImageNotFound(RecordNotFound):
    """No picture has this id, or it belongs to another account."""

    spec = ErrorSpec(404, 13003, "Object not found", "Image with id {} not found")
    remedy = (
        "Ask without `account_id`: if the picture is there then, it belongs to another account. Else look in nginx's access log "
        "for its `DELETE` or its bucket's, the log of the service has no ids; a backup may have it."
    )


class BucketExists(ServiceError):
    """A bucket of this name exists already."""

    spec = ErrorSpec(409, 13006, "Unique constraint error", "Bucket with name {} already exist")
    remedy = "Harmless: go on and use it. On Amazon a stranger may have the name; take another."


class ObjectNotFound(RecordNotFound):
    """No object has this id, or it belongs to another account."""

    spec = ErrorSpec(404, 13007, "Object not found", "Object with id {} not found")
    remedy = (
        "Ask without `account_id`: if the object is there then, it belongs to another account. Else look in nginx's access log "
        "for its `DELETE` or its bucket's, the log of the service has no ids; a backup may have it."
    )


class BadImage(ServiceError):
    """The picture can't be decoded, is truncated, or is of a format that is not taken."""

    spec = ErrorSpec(400, 18002, BAD_INPUT, "Failed convert bytes to jpg")
    remedy = (
        "The client's fault. Open its file in a viewer: it is cut short, or of another format. If files that are good are "
        "refused, keep one and report it."
    )


class BucketNotFound(ServiceError):
    """No bucket has this name."""

    spec = ErrorSpec(404, 13901, "Bucket not found", "Bucket with name {} not found")
    remedy = (
        "If all buckets are gone, the disk was not mounted at the start, or `LOCAL_STORAGE.PATH` is wrong: compare `/config` "
        "with the mount. If it is one, look in nginx's access log for its `DELETE`. On a disk a bucket needs both directories, "
        "`images` and `objects`."
    )


class TooManyIds(ServiceError):
    """A bulk request names more ids than are allowed at once."""

    spec = ErrorSpec(400, 13902, BAD_INPUT, "No more than 1000 ids are allowed, {} given")
    remedy = "The client's fault. It has to send several requests."


class PayloadTooLarge(ServiceError):
    """The body is over the limit: IMAGES.MAX_SIZE or OBJECTS.MAX_SIZE."""

    spec = ErrorSpec(413, 13903, "Payload too large", "The limit is {} bytes")
    remedy = (
        "Raise the setting if such uploads are wanted, `client_max_body_size` of nginx too, and reload both. A 413 without "
        "this JSON comes from nginx."
    )


class OwnerMismatch(ServiceError):
    """The id that a PUT would replace belongs to another account."""

    spec = ErrorSpec(403, 13904, "Forbidden", "Id {} belongs to another account")
    remedy = "The client's fault: it uses an id of another account. Nothing was changed."


class StorageUnavailable(ServiceError):
    """The storage refuses to work: see the log line of this request for the operation and the system's reason."""

    spec = ErrorSpec(503, 13905, "Storage is unavailable", "{}")
    remedy = (
        "Search the log for the request id: `storage: <operation>: <reason>`. On a disk, check owner and mode of the "
        "directory, the mount, and `dmesg` for the disk. On S3, check the service, the way to it, the keys and the clock. It "
        "mends itself once the cause is gone; `Retry-After` says when to try again. A save may have been done all the same: "
        "PUT it again."
    )
    retry_after = 5


class StorageTimeout(ServiceError):
    """The storage did not answer in time."""

    spec = ErrorSpec(504, 13906, "Storage timeout", "{}")
    remedy = (
        "Search the log for the request id: `storage: <operation>: <reason>`. See whether S3 is slow, and the way to it. A "
        "save may have been done all the same: PUT it again. Do not raise `S3.READ_TIMEOUT` before you know why."
    )


class StorageFull(ServiceError):
    """No room or no inodes are left, or a quota is used up. Nothing of the item was kept."""

    spec = ErrorSpec(507, 13907, "Insufficient storage", "{}")
    remedy = (
        "Free room or inodes now: `df -h` and `df -i` on `LOCAL_STORAGE.PATH`. On S3, raise the quota. Reading and deleting "
        "go on meanwhile; a deleted bucket frees its room in the background. No restart is needed."
    )


class TooManyPixels(ServiceError):
    """The picture has more pixels than IMAGES.MAX_PIXELS."""

    spec = ErrorSpec(400, 13908, BAD_INPUT, "The picture has {} pixels, the limit is {}")
    remedy = "Raise the setting if such pictures are wanted, and reckon with 16 bytes of memory per pixel and worker."


class RecordDamaged(ServiceError):
    """What is stored under this id fails its checks and is not sent."""

    spec = ErrorSpec(500, 13909, "Stored data is damaged", "Id {}")
    remedy = (
        "Search the log for `damaged record`: it has kind, id, bucket and reason. Put the file back from a backup, replace "
        "it by PUT, or delete it; to delete it, name no `account_id`, for its owner can't be read. If there are several, "
        "suspect the disk: look at `dmesg` and SMART."
    )


class NotReady(ServiceError):
    """`/readyz` only: the service drains, or its storage does not work. The detail says which."""

    spec = ErrorSpec(503, 13910, "Service is not ready", "{}")
    remedy = (
        "The detail says why. `the service is draining`: somebody ran `luna-image-store drain`, or the file `HTTP.DRAIN_FILE` was "
        "left; `luna-image-store drain --cancel` removes it. `storage: ...`: do as for 13905 or 13906; `/healthcheck` has the "
        "error."
    )
    retry_after = 5
