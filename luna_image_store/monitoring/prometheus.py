"""The metrics for Prometheus, counted by its library: by one process for itself, or by all workers together."""

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

_directory: Path | None = None  # where processes count together, if they do

disable_created_metrics()  # files that are shared do not have them either


def share(directory: Path, number: int) -> None:
    """Count in files of a directory from now on, under a number that no other living process has.

    What was counted under this number before goes on. The library wants the directory in its environment variable too.
    """
    global _directory
    _directory = directory
    values.ValueClass = values.MultiProcessValue(lambda: number)


def forget(directory: Path, number: int) -> None:
    """Remove what a process that has ended was doing at the moment; what it counted stays."""
    mark_process_dead(number, str(directory))


class Metrics:
    """Counts what the service does."""

    def __init__(self, threads: int, extra_labels: Mapping[str, str]) -> None:
        """Begin to count; `extra_labels` go onto every series."""
        self._registry = CollectorRegistry()
        counted = [declared for declared in metric_definitions.ALL if declared != metric_definitions.REQUESTS]
        self._made: dict[Series, Any] = {declared: self._make(declared) for declared in counted}
        self._extra_labels = extra_labels
        self._bound = cache(self._bind)
        self.started: Callable[[], None] = self._made[metric_definitions.IN_FLIGHT].inc
        self._ended: Callable[[], None] = self._made[metric_definitions.IN_FLIGHT].dec
        self._made[metric_definitions.THREADS].set(threads)

    def __getitem__(self, declared: Series) -> Any:
        """Give what counts a series."""
        return self._made[declared]

    def finished(self, request: RequestSample) -> None:
        """Count a request."""
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
        """Write all series as text."""
        source = Shared(_directory) if _directory else self._registry
        return generate_latest(Shown(source, self._extra_labels))

    def _bind(self, path: str, status: int) -> tuple[Callable[..., None], ...]:
        """Look up once what counts requests of a path and status."""
        return (
            self[metric_definitions.DURATIONS].labels(path, status).observe,
            self[metric_definitions.RECEIVED].labels(path).inc,
            self[metric_definitions.SENT].labels(path).inc,
        )

    def _make(self, declared: Series) -> Counter | Gauge | Histogram:
        name, text, labels = declared.name, declared.help, declared.labels
        match declared.kind:
            case "counter":
                return Counter(name, text, labels, registry=self._registry)
            case "gauge":
                return Gauge(name, text, labels, registry=self._registry, multiprocess_mode="livesum")
            case "histogram":
                return Histogram(name, text, labels, registry=self._registry, buckets=declared.buckets)


class Shared(Collector):
    """Adds up what is in the files of a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """Give the sums; the library fails where a worker has just begun a file, and where one has just been removed."""
        files = [str(file) for file in self._directory.glob("*.db") if _has_content(file)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)
        return merged


class Shown(Collector):
    """What is counted as it is shown, with labels that all series get: here they cost a request nothing."""

    def __init__(self, source: Collector, labels: Mapping[str, str]) -> None:
        self._source = source
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        """Give the metrics, sorted by name."""
        metrics = {metric.name: metric for metric in self._source.collect()}
        if metric_definitions.DURATIONS.name in metrics:
            metrics[metric_definitions.REQUESTS.name] = _request_counts(metrics[metric_definitions.DURATIONS.name])
        for _, metric in sorted(metrics.items()):
            metric.samples = [sample._replace(labels={**sample.labels, **self._labels}) for sample in metric.samples]
            yield metric


def _request_counts(durations: Metric) -> Metric:
    """Show how many durations there are as a counter: to count them twice would be work for every request."""
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
