"""The resource for Prometheus metrics."""

import falcon

from luna_image_store.monitoring.prometheus import CONTENT_TYPE, Metrics


class MetricsPage:
    """The metrics of all workers. This page is not part of the OpenAPI document, and exists only if metrics are enabled."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Get the metrics."""
        resp.content_type = CONTENT_TYPE
        resp.data = self._metrics.page()
