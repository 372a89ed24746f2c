"""Schemas of requests and responses: path, query, headers and JSON bodies.

The same schemas validate requests and describe them in the OpenAPI document. A ValidationError becomes the common error of its
part of the request. A field that needs another error raises it itself.
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


def check_meta_size(meta: Mapping[str, str]) -> None:
    """Raise ValidationError if the metadata is larger than META_BYTES."""
    if sum(len(key) + len(value) for key, value in meta.items()) > META_BYTES:
        raise ValidationError(f"All keys and values together must have at most {META_BYTES} bytes.")


def _string(pattern: str, description: str, example: str, **options: Any) -> fields.String:
    return fields.String(validate=Pattern(pattern), metadata={"description": description, "example": example}, **options)


def _accept(types: tuple[str, ...]) -> fields.String:
    return fields.String(
        data_key="Accept",
        metadata={"description": "Types that the client accepts in the response.", "enum": list(types), "only_checked": True},
    )


def _response_field(description: str, example: object) -> fields.String:
    return fields.String(required=True, metadata={"description": description, "example": example})


class BaseSchema(Schema):
    """Base of all schemas. A schema has fields and no hooks, because requests are loaded field by field."""

    class Meta:
        """Ignore unknown fields."""

        unknown = EXCLUDE


class BucketPath(BaseSchema):
    """Path of a bucket."""

    bucket = _string(BUCKET_NAME, "Name of the bucket.", BUCKET, required=True)


class ImagePath(BucketPath):
    """Path of an image."""

    image_id = _string(ID, "Id of the image.", IMAGE, required=True)


class PreviewPath(ImagePath):
    """Path of a preview."""

    size = PreviewSize(
        required=True,
        metadata={
            "description": "Maximum length of the longest side in pixels.",
            "example": 64,
            "minimum": 1,
            "maximum": MAX_PREVIEW,
        },
    )


class ObjectPath(BucketPath):
    """Path of an object."""

    object_id = _string(ID, "Id of the object.", OBJECT, required=True)


class NewBucketQuery(BaseSchema):
    """The query for the creation of a bucket."""

    bucket = _string(BUCKET_NAME, "Name of the bucket. On S3 it must also follow the naming rules of S3.", BUCKET, required=True)


class AccountQuery(BaseSchema):
    """The account for which a record is read or deleted."""

    account_id = _string(
        ID,
        "Id of the account. Records of other accounts count as not found. Without this parameter, all records are accessible.",
        ACCOUNT,
        load_default=None,
    )


class ImageQuery(AccountQuery):
    """The query for reading an image."""

    with_meta = Flag(
        load_default=False,
        metadata={
            "description": "1 returns the metadata of the image in the headers `X-Luna-Meta-*`.",
            "enum": [0, 1],
            "example": 1,
            "default": 0,
        },
    )


class RequestHeaders(BaseSchema):
    """Headers of all requests. The responder does not get the fields with `only_checked`."""

    request_id = fields.String(
        validate=Pattern(REQUEST_ID),
        data_key="Luna-Request-Id",
        metadata={
            "description": "Id of the request, `<unix seconds>,<uuid>`. The service writes it in each log line of the request and "
            "returns it in the response. Without this header, the service creates an id.",
            "example": REQUEST,
            "only_checked": True,
        },
    )


class UploadHeaders(RequestHeaders):
    """Headers of POST and PUT."""

    account_id = _string(
        ID, "Id of the account that owns the record. A record without an owner is open to all accounts.", ACCOUNT,
        data_key="Luna-Account-Id", load_default=None,
    )  # fmt: skip


class ImageHeaders(UploadHeaders):
    """Headers for the upload of an image."""

    content_type = ImageType(
        data_key="Content-Type",
        metadata={
            "description": "Type of the image. The service detects the real format from the bytes.",
            "enum": list(IMAGE_TYPES),
            "only_checked": True,
        },
    )
    meta = fields.Dict(
        keys=fields.String(validate=Pattern(META_KEY)),
        values=fields.String(validate=Pattern(PRINTABLE)),
        validate=check_meta_size,
        load_default=dict,
        data_key="X-Luna-Meta-*",
        metadata={
            "description": "Metadata of the image: one header `X-Luna-Meta-<key>` per key. A key has 1 to 64 letters, digits and "
            "hyphens; upper and lower case are the same. A value is printable ASCII. All keys and values together have at most "
            "2,048 bytes.",
        },
    )


class ObjectHeaders(UploadHeaders):
    """Headers for the upload of an object."""

    content_type = ObjectType(
        required=True,
        data_key="Content-Type",
        metadata={"description": "Type of the object. The service stores it with its parameters.", "enum": list(OBJECT_ENDINGS)},
    )


class AcceptObject(RequestHeaders):
    """Headers for reading an object."""

    accept = _accept(tuple(OBJECT_ENDINGS))


class AcceptSpec(RequestHeaders):
    """Headers for reading the OpenAPI document."""

    accept = _accept(("application/x-yaml", "text/html"))


class AcceptConfig(RequestHeaders):
    """Headers for reading the settings."""

    accept = _accept(("application/json", "text/plain"))


class ImageIds(BaseSchema):
    """The ids of the images to delete."""

    images = Ids(
        fields.String(validate=Pattern(ID)),
        required=True,
        metadata={"description": "Ids of images, at most 1000.", "example": [IMAGE], "maxItems": MAX_IDS},
    )


class ObjectIds(BaseSchema):
    """The ids of the objects to delete."""

    objects = Ids(
        fields.String(validate=Pattern(ID)),
        required=True,
        metadata={"description": "Ids of objects, at most 1000.", "example": [OBJECT], "maxItems": MAX_IDS},
    )


class Empty(BaseSchema):
    """An empty JSON object."""


class ImageUrl(BaseSchema):
    """The path of a replaced image."""

    url = _response_field("Path of the image.", IMAGE_URL)


class ImageCreated(ImageUrl):
    """The id of a new image, and the paths of the image and its previews."""

    image_id = _response_field("Id of the image.", IMAGE)
    url32 = _response_field("Path of the preview of 32 px.", f"{IMAGE_URL}_32")
    url64 = _response_field("Path of the preview of 64 px.", f"{IMAGE_URL}_64")
    url96 = _response_field("Path of the preview of 96 px.", f"{IMAGE_URL}_96")
    url160 = _response_field("Path of the preview of 160 px.", f"{IMAGE_URL}_160")


class ObjectUrl(BaseSchema):
    """The id and the path of an object."""

    object_id = _response_field("Id of the object.", OBJECT)
    url = _response_field("Path of the object.", OBJECT_URL)


class VersionNumbers(BaseSchema):
    """The numbers of a version."""

    api = fields.Integer(required=True, metadata={"description": "Version of the interface, as in the paths.", "example": 1})
    major = fields.Integer(required=True, metadata={"example": 3})
    minor = fields.Integer(required=True, metadata={"example": 8})
    patch = fields.Integer(required=True, metadata={"example": 4})


class VersionAnswer(BaseSchema):
    """The version of the service."""

    version = fields.Nested(VersionNumbers, required=True, data_key="Version")


class Health(BaseSchema):
    """The response of a health check without an error."""

    execution_time = fields.Float(
        required=True, metadata={"description": "Duration of the health check in seconds.", "example": 0.0012}
    )


class Alive(BaseSchema):
    """The response of a live worker."""

    status = _response_field("Always `alive`.", "alive")


class Ready(BaseSchema):
    """The response of a service that is ready for requests."""

    status = _response_field("Always `ready`.", "ready")


class Error(BaseSchema):
    """The body of every error."""

    error_code = fields.Integer(required=True, metadata={"description": "Code of the error.", "example": 13003})
    desc = _response_field("Category of the error.", "Object not found")
    detail = _response_field("Details of this error.", f"Image with id {IMAGE} not found")


class Component(BaseSchema):
    """A component of the service that does not work."""

    name = _response_field("Name of the component.", "storage")
    detail = _response_field("Operation that failed.", "health check")


class Unhealthy(Error):
    """The response of a failed health check."""

    components = fields.List(fields.Nested(Component), required=True, metadata={"description": "Components that do not work."})
