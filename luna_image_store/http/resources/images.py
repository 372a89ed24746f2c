"""Resources for images and their previews."""

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
    """The images of a bucket."""

    tag = "images"

    @operation(
        path=schemas.BucketPath,
        headers=schemas.ImageHeaders,
        body=Binary(*IMAGE_TYPES),
        responses={201: Json(schemas.ImageCreated)},
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
        """Save an image under a new id.

        The service stores a JPEG unchanged and converts other formats to JPEG. It also stores previews of 32, 64, 96 and 160 px.
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
        responses={204: NoBody()},
        errors=(JsonMissing, FieldMissing, JsonInvalid, TooManyIds, PayloadTooLarge, BucketNotFound),
    )
    def on_delete(self, req: falcon.Request, resp: falcon.Response, bucket: str, account_id: str | None, images: list[str]) -> None:
        """Delete up to 1000 images.

        The service also deletes their previews. It skips ids that do not exist. With `account_id`, it also skips images of other
        accounts.
        """
        self._services.images.delete_many(bucket, images, account_id)
        resp.status = falcon.HTTP_204


class Image(Resource):
    """One image."""

    tag = "image"

    @operation(
        path=schemas.ImagePath,
        headers=schemas.ImageHeaders,
        body=Binary(*IMAGE_TYPES),
        responses={200: Json(schemas.ImageUrl)},
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
        """Save an image under the given id.

        The service creates or replaces the image, its previews and its metadata in one step. Without `Luna-Account-Id`, the owner
        does not change.
        """
        data = request_body.read(req, self._services.settings.images.max_size)
        self._services.images.replace(bucket, image_id, data, account_id, meta)
        resp.media = {"url": f"/1/buckets/{bucket}/images/{image_id}"}

    @operation(path=schemas.ImagePath, query=schemas.ImageQuery, responses=CONTENT, errors=READ)
    def on_get(
        self, req: falcon.Request, resp: falcon.Response, bucket: str, image_id: str, account_id: str | None, with_meta: bool
    ) -> None:
        """Get an image.

        The service supports conditional requests and a single byte range.
        """
        responses.send(req, resp, self._services.images.get(bucket, image_id, account_id), with_meta)

    @operation(path=schemas.ImagePath, query=schemas.ImageQuery, responses=CONTENT_HEAD, errors=READ)
    def on_head(
        self, req: falcon.Request, resp: falcon.Response, bucket: str, image_id: str, account_id: str | None, with_meta: bool
    ) -> None:
        """Check that an image exists.

        The response has the same headers as for GET.
        """
        responses.send(req, resp, self._services.images.head(bucket, image_id, account_id), with_meta)

    @operation(path=schemas.ImagePath, query=schemas.AccountQuery, responses={204: NoBody()}, errors=READ)
    def on_delete(self, req: falcon.Request, resp: falcon.Response, bucket: str, image_id: str, account_id: str | None) -> None:
        """Delete an image with all its previews.

        The image is deleted before the service responds.
        """
        self._services.images.delete(bucket, image_id, account_id)
        resp.status = falcon.HTTP_204


class ImageThumbnail(Resource):
    """A preview of an image."""

    tag = "imageThumbnail"

    @operation(path=schemas.PreviewPath, responses=CONTENT, errors=READ)
    def on_get(self, req: falcon.Request, resp: falcon.Response, bucket: str, image_id: str, size: int) -> None:
        """Get a preview of an image.

        Its longest side has `size` pixels, or fewer if the image is smaller. Sizes 32, 64, 96 and 160 are stored. The service
        renders other sizes on request.
        """
        responses.send(req, resp, self._services.images.preview(bucket, image_id, size))

    @operation(path=schemas.PreviewPath, responses=CONTENT_HEAD, errors=READ)
    def on_head(self, req: falcon.Request, resp: falcon.Response, bucket: str, image_id: str, size: int) -> None:
        """Check that a preview is available.

        The response has the same headers as for GET.
        """
        responses.send(req, resp, self._services.images.preview(bucket, image_id, size))
