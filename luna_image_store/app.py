"""The WSGI application, created from the settings. Its error handlers turn all exceptions into JSON responses."""

import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import falcon

from luna_image_store import concurrency, errors
from luna_image_store.http import openapi
from luna_image_store.http.middleware import RequestContext
from luna_image_store.http.monitoring import METRICS_PATH, Monitoring
from luna_image_store.http.resources import system
from luna_image_store.http.resources.base import Services
from luna_image_store.http.routes import ROUTES
from luna_image_store.monitoring.monitor import Monitor
from luna_image_store.services import ImageService, ObjectService, render_settings
from luna_image_store.settings import Settings
from luna_image_store.storage.base import Storage
from luna_image_store.storage.factory import create_storage
from luna_image_store.storage.probe import CachedProbe

if TYPE_CHECKING:
    from luna_image_store.monitoring.prometheus import Metrics

App = falcon.App[falcon.Request, falcon.Response]

logger = logging.getLogger(__name__)


def create_app(settings: Settings, storage: Storage | None = None, manual: Path = system.MANUAL) -> App:
    """Create the application. Without `storage`, use the storage of the settings. `manual` is the directory of the manual."""
    monitor = Monitor(settings)
    storage = monitor.storage(storage or create_storage(settings, prepared=True))
    services = Services(
        settings=settings,
        storage=storage,
        images=ImageService(storage, render_settings(settings.images), concurrency.decodes(settings), monitor.renderer()),
        objects=ObjectService(storage),
        openapi=cache(lambda: openapi.to_yaml(ROUTES)),
        health=CachedProbe(storage.check),
        drain_file=Path(settings.http.drain_file),
        manual=manual,
    )
    app: App = falcon.App(middleware=[*_monitoring(monitor), RequestContext()])
    app.add_error_handler(errors.ServiceError, _on_service_error)
    app.add_error_handler(falcon.HTTPError, _on_http_error)
    app.add_error_handler(Exception, _on_unexpected_error)
    for template, resource in ROUTES.items():
        app.add_route(template, resource(services))
    for prefix, directory in (("/docs/dev", manual), ("/docs/spec", system.STATIC)):
        app.add_route(f"{prefix}/{{file:path}}", system.DocumentFile(prefix, directory))
    if monitor.metrics:
        _add_metrics(app, monitor.metrics)
    return app


def _monitoring(monitor: Monitor) -> list[Any]:
    return [*([Monitoring(monitor.observers)] if monitor.observers else []), *monitor.middleware]


def _add_metrics(app: App, metrics: "Metrics") -> None:
    from luna_image_store.http.resources.metrics import MetricsPage  # imports prometheus_client

    app.add_route(METRICS_PATH, MetricsPage(metrics))


def _on_service_error(req: falcon.Request, resp: falcon.Response, ex: errors.ServiceError, params: object) -> None:
    resp.status = ex.spec.status
    resp.content_type = falcon.MEDIA_JSON
    resp.media = ex.body()
    if isinstance(ex, errors.MethodNotAllowed):
        resp.set_header("Allow", ", ".join(ex.allowed))
    if ex.retry_after is not None:
        resp.set_header("Retry-After", str(ex.retry_after))


def _on_http_error(req: falcon.Request, resp: falcon.Response, ex: falcon.HTTPError, params: object) -> None:
    """Convert an error of Falcon to the JSON form of this service. Its status and headers do not change."""
    error = errors.PageNotFound() if ex.status_code == 404 else errors.InvalidRequest(ex.title)
    _on_service_error(req, resp, error, params)
    resp.status = ex.status
    resp.set_headers(ex.headers or {})


def _on_unexpected_error(req: falcon.Request, resp: falcon.Response, ex: Exception, params: object) -> None:
    logger.exception("unhandled error")
    _on_service_error(req, resp, errors.InternalError(), params)
