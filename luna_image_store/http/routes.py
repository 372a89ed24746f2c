"""The paths of the interface and their resources."""

from collections.abc import Mapping

from luna_image_store.http.resources import buckets, health, images, objects, system
from luna_image_store.http.resources.base import Resource

ROUTES: Mapping[str, type[Resource]] = {
    "/version": system.Version,
    "/1/buckets": buckets.Buckets,
    "/1/buckets/{bucket}": buckets.Bucket,
    "/1/buckets/{bucket}/objects": objects.Objects,
    "/1/buckets/{bucket}/objects/{object_id}": objects.Object,
    "/1/buckets/{bucket}/images": images.Images,
    "/1/buckets/{bucket}/images/{image_id}": images.Image,
    "/1/buckets/{bucket}/images/{image_id}_{size}": images.ImageThumbnail,
    "/docs/spec": system.Spec,
    "/docs/dev": system.Manual,
    "/config": system.Config,
    "/healthcheck": health.Health,
    "/livez": health.Life,
    "/readyz": health.Readiness,
}
