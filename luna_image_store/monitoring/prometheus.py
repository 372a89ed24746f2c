"""The metrics for Prometheus. One process counts alone, or all workers count in shared files."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, disable_created_metrics, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from luna_image_store.monitoring import metric_definitions
from luna_image_store.monitoring.metric_definitions import Series
from luna_image_store.monitoring.samples import RequestSample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_directory: Path | None = None  # of the shared files, if there are any

disable_created_metrics()  # shared files do not have them either


def enable_shared_metrics(directory: Path, number: int) -> None:
    """Count in files of a directory, under a number that no other running process has.

    The counts of an earlier process with this number continue. The library needs the directory in its environment variable too.
    """
    global _directory
    _directory = directory
    values.ValueClass = values.MultiProcessValue(lambda: number)


def remove_gauges(directory: Path, number: int) -> None:
    """Remove the gauges of a process that has ended. Its counters stay."""
    mark_process_dead(number, str(directory))


class Metrics:
    """The metrics of the service."""

    def __init__(self, threads: int, extra_labels: Mapping[str, str]) -> None:
        """Create all metrics. Add `extra_labels` to every series."""
        self._registry = CollectorRegistry()
        counted = [series for series in metric_definitions.ALL if series != metric_definitions.REQUESTS]
        self._metrics: dict[Series, Any] = {series: self._create(series) for series in counted}
        self._extra_labels = extra_labels
        self._bound = cache(self._bind)
        self.started: Callable[[], None] = self._metrics[metric_definitions.IN_FLIGHT].inc
        self._ended: Callable[[], None] = self._metrics[metric_definitions.IN_FLIGHT].dec
        self._metrics[metric_definitions.THREADS].set(threads)

    def __getitem__(self, series: Series) -> Any:
        """Return the counter, gauge or histogram of a definition."""
        return self._metrics[series]

    def finished(self, request: RequestSample) -> None:
        """Count a completed request."""
        observe, receive, send = self._bound(request.path, request.status)
        observe(request.seconds)
        if request.received:
            receive(request.received)
        if request.sent:
            send(request.sent)
        self._ended()
        if request.error_code is not None:
            self[metric_definitions.ERRORS].labels(request.path, request.error_code).inc()

    def page(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        source = SharedFiles(_directory) if _directory else self._registry
        return generate_latest(LabeledMetrics(source, self._extra_labels))

    def _bind(self, path: str, status: int) -> tuple[Callable[..., None], ...]:
        """Return the functions that count requests of a path and status. The result is cached."""
        return (
            self[metric_definitions.DURATIONS].labels(path, status).observe,
            self[metric_definitions.RECEIVED].labels(path).inc,
            self[metric_definitions.SENT].labels(path).inc,
        )

    def _create(self, series: Series) -> Counter | Gauge | Histogram:
        name, text, labels = series.name, series.help, series.labels
        match series.kind:
            case "counter":
                return Counter(name, text, labels, registry=self._registry)
            case "gauge":
                return Gauge(name, text, labels, registry=self._registry, multiprocess_mode="livesum")
            case "histogram":
                return Histogram(name, text, labels, registry=self._registry, buckets=series.buckets)


class SharedFiles(Collector):
    """Adds up the values in the files of a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """Return the sums. Skip empty and missing files: the library fails on a file that a worker has just created or removed."""
        files = [str(file) for file in self._directory.glob("*.db") if _has_content(file)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)
        return merged


class LabeledMetrics(Collector):
    """Metrics with extra labels, added when Prometheus reads them: so the labels cost no time in a request."""

    def __init__(self, source: Collector, labels: Mapping[str, str]) -> None:
        self._source = source
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, sorted by name."""
        metrics = {metric.name: metric for metric in self._source.collect()}
        if metric_definitions.DURATIONS.name in metrics:
            metrics[metric_definitions.REQUESTS.name] = _request_counts(metrics[metric_definitions.DURATIONS.name])
        for _, metric in sorted(metrics.items()):
            metric.samples = [sample._replace(labels={**sample.labels, **self._labels}) for sample in metric.samples]
            yield metric


def _request_counts(durations: Metric) -> Metric:
    """Return a counter with the counts of the durations. A separate counter would cost time in every request."""
    counts = Metric(metric_definitions.REQUESTS.name.removesuffix("_total"), metric_definitions.REQUESTS.help, "counter")
    for sample in durations.samples:
        if sample.name == f"{metric_definitions.DURATIONS.name}_count":
            counts.add_sample(metric_definitions.REQUESTS.name, sample.labels, sample.value)
    return counts


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False
