"""Connects monitoring to the application. Libraries are imported only if the settings enable them: they use memory."""

from typing import TYPE_CHECKING, Any

from luna_image_store import concurrency
from luna_image_store.imaging.render import RENDERER, Renderer
from luna_image_store.monitoring import metric_definitions
from luna_image_store.monitoring.samples import Observer
from luna_image_store.settings import Settings, SettingsError
from luna_image_store.storage.base import Storage

if TYPE_CHECKING:
    from luna_image_store.monitoring.prometheus import Metrics


def check(settings: Settings) -> None:
    """Import the enabled modules, once for all workers. Raise SettingsError if a library is not installed."""
    if settings.metrics.enabled:
        from luna_image_store.monitoring import instrumented  # noqa: F401
    if settings.influx.send_data_for_monitoring:
        from luna_image_store.monitoring import influx  # noqa: F401
    if settings.tracing.enabled:
        try:
            from luna_image_store.monitoring import tracing  # noqa: F401
        except ImportError as ex:
            raise SettingsError(f"TRACING.ENABLED: install luna-image-store[tracing]: {ex}") from ex


class Monitor:
    """The monitoring of one application. The settings select its parts."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = _metrics(settings)
        self._backend = settings.storage.type
        self.observers = [observer for observer in (self.metrics, _points(settings, self.metrics)) if observer]
        self.middleware: list[Any] = []
        if settings.tracing.enabled:
            from luna_image_store.monitoring import tracing

            tracing.start()
            self.middleware.append(tracing.TracedRequests())

    def storage(self, storage: Storage) -> Storage:
        """Return the storage. If metrics are enabled, it measures its operations."""
        if not self.metrics:
            return storage
        from luna_image_store.monitoring.instrumented import measured_storage

        return measured_storage(storage, self._backend, self.metrics)

    def renderer(self) -> Renderer:
        """Return the renderer. If metrics are enabled, it measures its calls."""
        if not self.metrics:
            return RENDERER
        from luna_image_store.monitoring.instrumented import measured_renderer

        return measured_renderer(RENDERER, self.metrics)


def _metrics(settings: Settings) -> "Metrics | None":
    if not settings.metrics.enabled:
        return None
    from luna_image_store.monitoring.prometheus import Metrics

    return Metrics(concurrency.threads(settings), settings.metrics.extra_labels)


def _points(settings: Settings, metrics: "Metrics | None") -> Observer | None:
    if not settings.influx.send_data_for_monitoring:
        return None
    from luna_image_store.monitoring.influx import InfluxWriter

    return InfluxWriter(settings.influx, metrics[metric_definitions.DROPPED].inc if metrics else lambda _: None)
