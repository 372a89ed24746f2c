"""The WSGI application: routes as data, errors mapped to answers in one place."""

import logging
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import falcon

from luna_image_store import concurrency, errors
from luna_image_store.http import openapi
from luna_image_store.http.middleware import RequestContext
from luna_image_store.http.monitoring import METRICS_PATH, Monitoring
from luna_image_store.http.resources import buckets, health, images, objects, system
from luna_image_store.http.resources.base import Resource, Services
from luna_image_store.monitoring.monitor import Monitor
from luna_image_store.phase import Phase, SharedPhase
from luna_image_store.services import ImageService, ObjectService, render_settings
from luna_image_store.settings import Settings
from luna_image_store.storage.base import Storage
from luna_image_store.storage.factory import create_storage
from luna_image_store.storage.probe import Health

if TYPE_CHECKING:
    from luna_image_store.monitoring.prometheus import Metrics

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

App = falcon.App[falcon.Request, falcon.Response]

logger = logging.getLogger(__name__)


def create_app(settings: Settings, storage: Storage | None = None, phase: SharedPhase | None = None) -> App:
    """Make the application. `storage`: the one to use, else the one that the settings name; `phase`: that of its master."""
    monitor = Monitor(settings)
    storage = monitor.storage(storage or create_storage(settings))
    services = Services(
        settings=settings,
        storage=storage,
        images=ImageService(storage, render_settings(settings["IMAGES"]), concurrency.decodes(settings), monitor.renderer()),
        objects=ObjectService(storage),
        openapi=cache(lambda: openapi.to_yaml(ROUTES)),
        health=Health(storage.check),
        phase=phase or SharedPhase(Phase.SERVING),
    )
    app: App = falcon.App(middleware=[*_monitoring(monitor), RequestContext()])
    app.add_error_handler(errors.ServiceError, _on_service_error)
    app.add_error_handler(falcon.HTTPError, _on_http_error)
    app.add_error_handler(Exception, _on_fault)
    for template, resource in ROUTES.items():
        app.add_route(template, resource(services))
    for prefix, directory in (("/docs/dev", system.MANUAL), ("/docs/spec", system.STATIC)):
        app.add_route(f"{prefix}/{{file:path}}", system.DocumentFile(prefix, directory))
    if monitor.metrics:
        _add_metrics(app, monitor.metrics)
    return app


def _monitoring(monitor: Monitor) -> list[Any]:
    return [*([Monitoring(monitor.observers)] if monitor.observers else []), *monitor.middleware]


def _add_metrics(app: App, metrics: "Metrics") -> None:
    from luna_image_store.http.resources.metrics import MetricsPage  # with the library for Prometheus

    app.add_route(METRICS_PATH, MetricsPage(metrics))


def _on_service_error(req: falcon.Request, resp: falcon.Response, ex: errors.ServiceError, params: object) -> None:
    resp.status = ex.row.status
    resp.content_type = falcon.MEDIA_JSON
    resp.media = ex.body()
    if isinstance(ex, errors.MethodNotAllowed):
        resp.set_header("Allow", ", ".join(ex.allowed))
    if ex.retry_after is not None:
        resp.set_header("Retry-After", str(ex.retry_after))


def _on_http_error(req: falcon.Request, resp: falcon.Response, ex: falcon.HTTPError, params: object) -> None:
    """Give the errors of the framework our form; those without a row of their own keep their status."""
    error = errors.PageNotFound() if ex.status_code == 404 else errors.InvalidRequest(ex.title)
    _on_service_error(req, resp, error, params)
    resp.status = ex.status
    resp.set_headers(ex.headers or {})


def _on_fault(req: falcon.Request, resp: falcon.Response, ex: Exception, params: object) -> None:
    logger.exception("unexpected fault")
    _on_service_error(req, resp, errors.InternalError(), params)
