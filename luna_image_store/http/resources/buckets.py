"""Resources for buckets."""

import falcon

from luna_image_store.errors import BucketExists, BucketNotFound, StorageFull
from luna_image_store.http.bodies import Example, Json
from luna_image_store.http.operation import operation
from luna_image_store.http.resources.base import Resource
from luna_image_store.http.schemas import BUCKET, BucketPath, Empty, NewBucketQuery


class Buckets(Resource):
    """All buckets."""

    tag = "buckets"

    @operation(query=NewBucketQuery, responses={201: Json(Empty)}, errors=(BucketExists, StorageFull))
    def on_post(self, req: falcon.Request, resp: falcon.Response, bucket: str) -> None:
        """Create a bucket.

        The name must be unique and follow the naming rules of the storage. On a disk a bucket is a directory, on S3 it is an S3
        bucket.
        """
        self._services.storage.create_bucket(bucket)
        resp.status = falcon.HTTP_201
        resp.location = f"/1/buckets/{bucket}"
        resp.media = {}

    @operation(responses={200: Example({falcon.MEDIA_JSON: [BUCKET]})})
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the buckets.

        The response has the names of all buckets, sorted.
        """
        resp.media = self._services.storage.list_buckets()


class Bucket(Resource):
    """One bucket."""

    tag = "buckets"

    @operation(path=BucketPath, responses={202: Json(Empty)}, errors=(BucketNotFound,))
    def on_delete(self, req: falcon.Request, resp: falcon.Response, bucket: str) -> None:
        """Delete a bucket with all its records.

        On a disk the bucket is deleted before the service responds, and its space is freed in the background. On S3 a large
        bucket is deleted in the background: its name disappears when all its records are deleted.
        """
        self._services.storage.delete_bucket(bucket)
        resp.status = falcon.HTTP_202
        resp.media = {}
