"""Pictures and their previews."""

from collections.abc import Mapping

import falcon

from luna_image_store.content_types import IMAGE_TYPES
from luna_image_store.errors import (
    BadContentType,
    BadImage,
    BodyEmpty,
    BucketNotFound,
    FieldMissing,
    ImageNotFound,
    JsonInvalid,
    JsonMissing,
    OwnerMismatch,
    PayloadTooLarge,
    RecordDamaged,
    StorageFull,
    TooManyIds,
    TooManyPixels,
)
from luna_image_store.http import request_body, responses, schemas
from luna_image_store.http.bodies import Binary, Body, Json, NoBody
from luna_image_store.http.operation import operation
from luna_image_store.http.resources.base import Resource

UPLOAD = (BadContentType, BadImage, BodyEmpty, PayloadTooLarge, TooManyPixels, BucketNotFound, StorageFull)
READ = (BucketNotFound, ImageNotFound, RecordDamaged)
JPEG = Binary("image/jpeg")
CONTENT: Mapping[int, Body] = {200: JPEG, 206: JPEG, 304: Binary(), 416: Json(schemas.Error)}
CONTENT_HEAD: Mapping[int, Body] = {200: Binary(), 304: Binary()}


class Images(Resource):
    """The pictures of a bucket."""

    tag = "images"

    @operation(
        path=schemas.BucketPath,
        headers=schemas.ImageHeaders,
        body=Binary(*IMAGE_TYPES),
        answers={201: Json(schemas.ImageCreated)},
        errors=UPLOAD,
    )
    def on_post(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        bucket: str,
        account_id: str | None,
        meta: Mapping[str, str],
    ) -> None:
        """Save a picture under a new ID.

        A JPEG is stored as it came, anything else becomes one. Previews of 32, 64, 96 and 160 px are made with it.
        """
        data = request_body.read(req, self._services.settings.images.max_size)
        image_id = self._services.images.create(bucket, data, account_id, meta)
        url = f"/1/buckets/{bucket}/images/{image_id}"
        resp.status = falcon.HTTP_201
        resp.location = url
        resp.media = {
            "image_id": image_id,
            "url": url,
            **{f"url{size}": f"{url}_{size}" for size in self._services.images.preview_sizes},
        }

    @operation(
        path=schemas.BucketPath,
        query=schemas.AccountQuery,
        json=schemas.ImageIds,
        answers={204: NoBody()},
        errors=(JsonMissing, FieldMissing, JsonInvalid, TooManyIds, PayloadTooLarge, BucketNotFound),
    )
    def on_delete(self, req: falcon.Request, resp: falcon.Response, bucket: str, account_id: str | None, images: list[str]) -> None:
        """Delete pictures, up to 1000 at once.

        Their previews go with them. IDs that do not exist, or belong to another account, are passed over.
        """
        self._services.images.delete_many(bucket, images, account_id)
        resp.status = falcon.HTTP_204


class Image(Resource):
    """One picture."""

    tag = "image"

    @operation(
        path=schemas.ImagePath,
        headers=schemas.ImageHeaders,
        body=Binary(*IMAGE_TYPES),
        answers={200: Json(schemas.ImageUrl)},
        errors=(*UPLOAD, OwnerMismatch),
    )
    def on_put(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        bucket: str,
        image_id: str,
        account_id: str | None,
        meta: Mapping[str, str],
    ) -> None:
        """Save a picture under the given ID.

        Creates or replaces the picture, its previews and its metadata as one step. Without `Luna-Account-Id` the owner stays.
        """
        data = request_body.read(req, self._services.settings.images.max_size)
        self._services.images.replace(bucket, image_id, data, account_id, meta)
        resp.media = {"url": f"/1/buckets/{bucket}/images/{image_id}"}

    @operation(path=schemas.ImagePath, query=schemas.ImageQuery, answers=CONTENT, errors=READ)
    def on_get(
        self, req: falcon.Request, resp: falcon.Response, bucket: str, image_id: str, account_id: str | None, with_meta: bool
    ) -> None:
        """Get a picture.

        Conditional requests and a single range are heeded.
        """
        responses.send(req, resp, self._services.images.get(bucket, image_id, account_id), with_meta)

    @operation(path=schemas.ImagePath, query=schemas.ImageQuery, answers=CONTENT_HEAD, errors=READ)
    def on_head(
        self, req: falcon.Request, resp: falcon.Response, bucket: str, image_id: str, account_id: str | None, with_meta: bool
    ) -> None:
        """Check that a picture exists.

        The headers are those of GET.
        """
        responses.send(req, resp, self._services.images.head(bucket, image_id, account_id), with_meta)

    @operation(path=schemas.ImagePath, query=schemas.AccountQuery, answers={204: NoBody()}, errors=READ)
    def on_delete(self, req: falcon.Request, resp: falcon.Response, bucket: str, image_id: str, account_id: str | None) -> None:
        """Delete a picture with all its previews.

        Both are gone when the answer leaves.
        """
        self._services.images.delete(bucket, image_id, account_id)
        resp.status = falcon.HTTP_204


class ImageThumbnail(Resource):
    """One picture as a preview."""

    tag = "imageThumbnail"

    @operation(path=schemas.PreviewPath, answers=CONTENT, errors=READ)
    def on_get(self, req: falcon.Request, resp: falcon.Response, bucket: str, image_id: str, size: int) -> None:
        """Get a picture as a thumbnail.

        Its longest side is `size` pixels; it is never enlarged. Sizes 32, 64, 96 and 160 are stored, others are made on request.
        """
        responses.send(req, resp, self._services.images.preview(bucket, image_id, size))

    @operation(path=schemas.PreviewPath, answers=CONTENT_HEAD, errors=READ)
    def on_head(self, req: falcon.Request, resp: falcon.Response, bucket: str, image_id: str, size: int) -> None:
        """Check that a thumbnail can be had.

        The headers are those of GET.
        """
        responses.send(req, resp, self._services.images.preview(bucket, image_id, size))
