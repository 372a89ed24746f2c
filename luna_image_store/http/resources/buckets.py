"""Buckets: disjoint namespaces of pictures and objects."""

import falcon

from luna_image_store.errors import BucketExists, BucketNotFound, StorageFull
from luna_image_store.http.bodies import Example, Json
from luna_image_store.http.operation import operation
from luna_image_store.http.resources.base import Resource
from luna_image_store.http.schemas import BUCKET, BucketPath, Empty, NewBucketQuery


class Buckets(Resource):
    """All buckets."""

    tag = "buckets"

    @operation(query=NewBucketQuery, answers={201: Json(Empty)}, errors=(BucketExists, StorageFull))
    def on_post(self, req: falcon.Request, resp: falcon.Response, bucket: str) -> None:
        """Create a bucket with the provided name.

        The name must be unique and keep the storage's naming rules. On a disk a bucket is a directory, on S3 it is a bucket.
        """
        self._services.storage.create_bucket(bucket)
        resp.status = falcon.HTTP_201
        resp.location = f"/1/buckets/{bucket}"
        resp.media = {}

    @operation(answers={200: Example({falcon.MEDIA_JSON: [BUCKET]})})
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Get the bucket list.

        The names of all existing buckets, sorted.
        """
        resp.media = self._services.storage.list_buckets()


class Bucket(Resource):
    """One bucket."""

    tag = "buckets"

    @operation(path=BucketPath, answers={202: Json(Empty)}, errors=(BucketNotFound,))
    def on_delete(self, req: falcon.Request, resp: falcon.Response, bucket: str) -> None:
        """Delete a bucket and all it holds.

        On a disk it is gone when the answer leaves, and its bytes are freed afterwards. On S3 a large bucket is deleted in the
        background and vanishes at the end.
        """
        self._services.storage.delete_bucket(bucket)
        resp.status = falcon.HTTP_202
        resp.media = {}
