"""Resources for objects."""

import falcon

from luna_image_store.content_types import OBJECT_ENDINGS, media_type
from luna_image_store.errors import (
    BadContentType,
    BodyEmpty,
    BodyMismatch,
    BucketNotFound,
    FieldMissing,
    JsonInvalid,
    JsonMissing,
    NotAcceptable,
    ObjectNotFound,
    OwnerMismatch,
    PayloadTooLarge,
    RecordDamaged,
    StorageFull,
    TooManyIds,
    UnsupportedMediaType,
)
from luna_image_store.http import request_body, responses, schemas
from luna_image_store.http.bodies import Binary, Example, Json, NoBody
from luna_image_store.http.operation import operation
from luna_image_store.http.resources.base import Resource
from luna_image_store.services import StoredContent

UPLOAD = (BadContentType, UnsupportedMediaType, BodyEmpty, BodyMismatch, PayloadTooLarge, BucketNotFound, StorageFull)
READ = (BucketNotFound, ObjectNotFound, RecordDamaged)
BODIES = Example({**dict.fromkeys(OBJECT_ENDINGS), "application/json": {"content": "json"}, "text/plain": "A text."})


class Objects(Resource):
    """The objects of a bucket."""

    tag = "objects"

    @operation(
        path=schemas.BucketPath, headers=schemas.ObjectHeaders, body=BODIES, responses={201: Json(schemas.ObjectUrl)}, errors=UPLOAD
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, bucket: str, account_id: str | None, content_type: str) -> None:
        """Save an object under a new id.

        The service checks that the body matches its Content-Type, and stores it unchanged.
        """
        body = request_body.chunks(req, self._services.settings.objects.max_size)
        object_id = self._services.objects.create(bucket, content_type, body, account_id)
        url = f"/1/buckets/{bucket}/objects/{object_id}"
        resp.status = falcon.HTTP_201
        resp.location = url
        resp.media = {"object_id": object_id, "url": url}

    @operation(
        path=schemas.BucketPath,
        query=schemas.AccountQuery,
        json=schemas.ObjectIds,
        responses={204: NoBody()},
        errors=(JsonMissing, FieldMissing, JsonInvalid, TooManyIds, PayloadTooLarge, BucketNotFound),
    )
    def on_delete(
        self, req: falcon.Request, resp: falcon.Response, bucket: str, account_id: str | None, objects: list[str]
    ) -> None:
        """Delete up to 1000 objects.

        The service skips ids that do not exist. With `account_id`, it also skips objects of other accounts.
        """
        self._services.objects.delete_many(bucket, objects, account_id)
        resp.status = falcon.HTTP_204


class Object(Resource):
    """One object."""

    tag = "object"

    @operation(
        path=schemas.ObjectPath,
        headers=schemas.ObjectHeaders,
        body=BODIES,
        responses={200: Json(schemas.ObjectUrl)},
        errors=(*UPLOAD, OwnerMismatch),
    )
    def on_put(
        self, req: falcon.Request, resp: falcon.Response, bucket: str, object_id: str, account_id: str | None, content_type: str
    ) -> None:
        """Save an object under the given id.

        The service creates or replaces the object in one step. Without `Luna-Account-Id`, the owner does not change.
        """
        body = request_body.chunks(req, self._services.settings.objects.max_size)
        self._services.objects.replace(bucket, object_id, content_type, body, account_id)
        resp.media = {"object_id": object_id, "url": f"/1/buckets/{bucket}/objects/{object_id}"}

    @operation(
        path=schemas.ObjectPath,
        query=schemas.AccountQuery,
        headers=schemas.AcceptObject,
        responses={200: Binary(*OBJECT_ENDINGS), 206: Binary(*OBJECT_ENDINGS), 304: Binary(), 416: Json(schemas.Error)},
        errors=(*READ, NotAcceptable),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, bucket: str, object_id: str, account_id: str | None) -> None:
        """Get an object.

        The service supports conditional requests and a single byte range.
        """
        responses.send(req, resp, _check_acceptable(req, self._services.objects.get(bucket, object_id, account_id)))

    @operation(
        path=schemas.ObjectPath,
        query=schemas.AccountQuery,
        headers=schemas.AcceptObject,
        responses={200: Binary(), 304: Binary()},
        errors=(*READ, NotAcceptable),
    )
    def on_head(self, req: falcon.Request, resp: falcon.Response, bucket: str, object_id: str, account_id: str | None) -> None:
        """Check that an object exists.

        The response has the same headers as for GET.
        """
        responses.send(req, resp, _check_acceptable(req, self._services.objects.head(bucket, object_id, account_id)))

    @operation(path=schemas.ObjectPath, query=schemas.AccountQuery, responses={204: NoBody()}, errors=READ)
    def on_delete(self, req: falcon.Request, resp: falcon.Response, bucket: str, object_id: str, account_id: str | None) -> None:
        """Delete an object.

        The object is deleted before the service responds.
        """
        self._services.objects.delete(bucket, object_id, account_id)
        resp.status = falcon.HTTP_204


def _check_acceptable(req: falcon.Request, content: StoredContent) -> StoredContent:
    """Return the content. Raise NotAcceptable if Accept does not allow its type."""
    try:
        responses.negotiate(req, (media_type(content.content_type),))
    except NotAcceptable:
        content.payload.close()
        raise
    return content
