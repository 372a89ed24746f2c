"""Wrappers of storage and renderer. They measure the time of each call and count failures of the storage."""

import time
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar, cast

from luna_image_store.errors import InternalError, RecordDamaged, ServiceError, StorageFull, StorageTimeout, StorageUnavailable
from luna_image_store.imaging.render import Renderer
from luna_image_store.monitoring import metric_definitions
from luna_image_store.monitoring.prometheus import Metrics
from luna_image_store.storage.base import Storage

Params = ParamSpec("Params")
Result = TypeVar("Result")

NO_COUNTERS: Mapping[int, Callable[[], None]] = {}
UNMEASURED = {"list_keys"}  # an iterator: it works while the caller iterates, not during the call
OPERATIONS = sorted(name for name, call in vars(Storage).items() if callable(call) and name[0] != "_" and name not in UNMEASURED)
FAILURES = {kind.spec.code for kind in (StorageUnavailable, StorageTimeout, StorageFull, RecordDamaged, InternalError)}


class MeasuredStorage:
    """A storage with the same operations, which are measured."""

    def __init__(self, storage: Storage, backend: str, metrics: Metrics) -> None:
        for name in OPERATIONS:
            counters = {code: metrics[metric_definitions.STORAGE_ERRORS].labels(backend, name, code).inc for code in FAILURES}
            observe = metrics[metric_definitions.STORAGE].labels(backend, name).observe
            setattr(self, name, timed(getattr(storage, name), observe, counters))
        for name in UNMEASURED:
            setattr(self, name, getattr(storage, name))


def measured_storage(storage: Storage, backend: str, metrics: Metrics) -> Storage:
    """Return a storage that measures its operations."""
    return cast(Storage, MeasuredStorage(storage, backend, metrics))


def measured_renderer(renderer: Renderer, metrics: Metrics) -> Renderer:
    """Return a renderer that measures its calls."""
    seconds = metrics[metric_definitions.RENDERER]
    return Renderer(
        timed(renderer.render, seconds.labels("render").observe), timed(renderer.preview, seconds.labels("preview").observe)
    )


def timed(
    call: Callable[Params, Result], observe: Callable[[float], None], counters: Mapping[int, Callable[[], None]] = NO_COUNTERS
) -> Callable[Params, Result]:
    """Wrap a function. Pass the seconds of each call to `observe`. Count each error with a code in `counters`."""

    def timed_call(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        began = time.perf_counter()
        try:
            return call(*args, **kwargs)
        except Exception as ex:
            error = ex if isinstance(ex, ServiceError) else InternalError()
            if error.spec.code in counters:
                counters[error.spec.code]()
            raise
        finally:
            observe(time.perf_counter() - began)

    return timed_call
