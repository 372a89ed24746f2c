"""What requests and answers look like: path, query, headers, bodies, each field described.

The schemas that validate a request are the ones that document it. A rule whose error is not the general one of its part
raises that error itself.
"""

from collections.abc import Mapping
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from luna_image_store.content_types import IMAGE_TYPES, OBJECT_ENDINGS
from luna_image_store.http.fields import MAX_IDS, MAX_PREVIEW, PRINTABLE, Flag, Ids, ImageType, ObjectType, Pattern, PreviewSize
from luna_image_store.storage.base import BUCKET_NAME, ID

REQUEST_ID = f"^[0-9]{{10}},{ID[1:]}"
META_KEY = "^[A-Za-z0-9-]{1,64}$"
META_BYTES = 2048

BUCKET = "image_store-bucket"
REQUEST = "1536751345,8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
IMAGE = "141d2706-8baf-433b-82eb-8c7fada847da"
OBJECT = "b5d6fd45-fcca-453d-ac05-3e594054b813"
ACCOUNT = "8950722f-3fd4-4223-b48f-03f95f0e8dfb"
IMAGE_URL = f"/1/buckets/{BUCKET}/images/{IMAGE}"
OBJECT_URL = f"/1/buckets/{BUCKET}/objects/{OBJECT}"


def small_enough(meta: Mapping[str, str]) -> None:
    """Refuse metadata that would not fit into an index."""
    if sum(len(key) + len(value) for key, value in meta.items()) > META_BYTES:
        raise ValidationError(f"All keys and values together may have {META_BYTES} bytes.")


def _string(pattern: str, text: str, example: str, **options: Any) -> fields.String:
    return fields.String(validate=Pattern(pattern), metadata={"description": text, "example": example}, **options)


def _accept(types: tuple[str, ...]) -> fields.String:
    return fields.String(
        data_key="Accept", metadata={"description": "Acceptable type of the answer.", "enum": list(types), "only_checked": True}
    )


def _answer(text: str, example: object) -> fields.String:
    return fields.String(required=True, metadata={"description": text, "example": example})


class BaseSchema(Schema):
    """Base of all schemas. They have fields and no hooks: on the way in, each field is loaded by itself."""

    class Meta:
        """Ignore what is not declared."""

        unknown = EXCLUDE


class BucketPath(BaseSchema):
    """A bucket in a path."""

    bucket = _string(BUCKET_NAME, "Bucket name.", BUCKET, required=True)


class ImagePath(BucketPath):
    """A picture in a path."""

    image_id = _string(ID, "Image ID.", IMAGE, required=True)


class PreviewPath(ImagePath):
    """A preview in a path."""

    size = PreviewSize(
        required=True,
        metadata={"description": "Longest side in pixels.", "example": 64, "minimum": 1, "maximum": MAX_PREVIEW},
    )


class ObjectPath(BucketPath):
    """An object in a path."""

    object_id = _string(ID, "Object ID.", OBJECT, required=True)


class NewBucketQuery(BaseSchema):
    """The name of a bucket to make."""

    bucket = _string(BUCKET_NAME, "Bucket name. On S3 it must also keep S3's rules for bucket names.", BUCKET, required=True)


class AccountQuery(BaseSchema):
    """On whose behalf a record is read or deleted."""

    account_id = _string(
        ID, "Account ID. Another account's records look missing; without it every record is seen.", ACCOUNT, load_default=None
    )


class ImageQuery(AccountQuery):
    """How a picture is read."""

    with_meta = Flag(
        load_default=False,
        metadata={"description": "Whether to send user-defined metadata as headers.", "enum": [0, 1], "example": 1, "default": 0},
    )


class RequestHeaders(BaseSchema):
    """Headers that every request may have. Fields that are only checked are not handed to the responder."""

    request_id = fields.String(
        validate=Pattern(REQUEST_ID),
        data_key="Luna-Request-Id",
        metadata={
            "description": "External request ID, `<unix seconds>,<uuid>`. It stands on every log line of the request and is "
            "returned with the answer. If it is not set, the service makes one.",
            "example": REQUEST,
            "only_checked": True,
        },
    )


class UploadHeaders(RequestHeaders):
    """Headers of POST and PUT."""

    account_id = _string(
        ID, "Account ID: the owner of what is stored. Without it, it is open to all.", ACCOUNT, data_key="Luna-Account-Id",
        load_default=None,
    )  # fmt: skip


class ImageHeaders(UploadHeaders):
    """Headers of an uploaded picture."""

    content_type = ImageType(
        data_key="Content-Type",
        metadata={
            "description": "Type of the picture; what it really is, is found from its bytes.",
            "enum": list(IMAGE_TYPES),
            "only_checked": True,
        },
    )
    meta = fields.Dict(
        keys=fields.String(validate=Pattern(META_KEY)),
        values=fields.String(validate=Pattern(PRINTABLE)),
        validate=small_enough,
        load_default=dict,
        data_key="X-Luna-Meta-*",
        metadata={
            "description": "User-defined metadata: one `X-Luna-Meta-<key>` header per key, kept with the picture. Keys are of "
            "letters, digits and hyphens, up to 64, in any case; values are printable ASCII; all together up to 2,048 bytes.",
        },
    )


class ObjectHeaders(UploadHeaders):
    """Headers of an uploaded object."""

    content_type = ObjectType(
        required=True,
        data_key="Content-Type",
        metadata={"description": "Type of the object; parameters are kept.", "enum": list(OBJECT_ENDINGS)},
    )


class AcceptObject(RequestHeaders):
    """Which types of an object the client takes."""

    accept = _accept(tuple(OBJECT_ENDINGS))


class AcceptSpec(RequestHeaders):
    """In which form the client wants the OpenAPI document."""

    accept = _accept(("application/x-yaml", "text/html"))


class AcceptConfig(RequestHeaders):
    """In which form the client wants the settings."""

    accept = _accept(("application/json", "text/plain"))


class ImageIds(BaseSchema):
    """Pictures to delete."""

    images = Ids(
        fields.String(validate=Pattern(ID)),
        required=True,
        metadata={"description": "Image IDs, up to 1000.", "example": [IMAGE], "maxItems": MAX_IDS},
    )


class ObjectIds(BaseSchema):
    """Objects to delete."""

    objects = Ids(
        fields.String(validate=Pattern(ID)),
        required=True,
        metadata={"description": "Object IDs, up to 1000.", "example": [OBJECT], "maxItems": MAX_IDS},
    )


class Empty(BaseSchema):
    """An empty answer."""


class ImageUrl(BaseSchema):
    """Where a replaced picture is found."""

    url = _answer("Path of the picture.", IMAGE_URL)


class ImageCreated(ImageUrl):
    """Where a new picture and its previews are found."""

    image_id = _answer("Image ID.", IMAGE)
    url32 = _answer("Path of the preview of 32 px.", f"{IMAGE_URL}_32")
    url64 = _answer("Path of the preview of 64 px.", f"{IMAGE_URL}_64")
    url96 = _answer("Path of the preview of 96 px.", f"{IMAGE_URL}_96")
    url160 = _answer("Path of the preview of 160 px.", f"{IMAGE_URL}_160")


class ObjectUrl(BaseSchema):
    """Where an object is found."""

    object_id = _answer("Object ID.", OBJECT)
    url = _answer("Path of the object.", OBJECT_URL)


class VersionNumbers(BaseSchema):
    """The parts of a version."""

    api = fields.Integer(required=True, metadata={"description": "Version in the paths.", "example": 1})
    major = fields.Integer(required=True, metadata={"example": 3})
    minor = fields.Integer(required=True, metadata={"example": 8})
    patch = fields.Integer(required=True, metadata={"example": 4})


class VersionAnswer(BaseSchema):
    """The version of the service."""

    version = fields.Nested(VersionNumbers, required=True, data_key="Version")


class Health(BaseSchema):
    """The storage answers."""

    execution_time = fields.Float(required=True, metadata={"description": "Seconds that the check took.", "example": 0.0012})


class Alive(BaseSchema):
    """A worker answers."""

    status = _answer("Always `alive`.", "alive")


class Ready(BaseSchema):
    """The service wants requests."""

    status = _answer("Always `ready`.", "ready")


class Error(BaseSchema):
    """The body of every error."""

    error_code = fields.Integer(required=True, metadata={"description": "Code of the error.", "example": 13003})
    desc = _answer("What kind of error it is.", "Object not found")
    detail = _answer("What it is about.", f"Image with id {IMAGE} not found")


class Component(BaseSchema):
    """A part of the service that does not work."""

    name = _answer("Name of the part.", "storage")
    detail = _answer("What is wrong with it.", "health check")


class Unhealthy(Error):
    """The storage does not answer."""

    components = fields.List(fields.Nested(Component), required=True, metadata={"description": "The parts that do not work."})
