"""The metrics for Prometheus."""

import falcon

from luna_image_store.monitoring.prometheus import CONTENT_TYPE, Metrics


class MetricsPage:
    """What all workers counted. It is no part of the interface, and only there where it is switched on."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Get the metrics."""
        resp.content_type = CONTENT_TYPE
        resp.data = self._metrics.page()
