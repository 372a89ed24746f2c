"""A storage and a codec that are measured: each call is timed, and failures of the storage are counted."""

import time
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar, cast

from luna_image_store.errors import InternalError, RecordDamaged, ServiceError, StorageFull, StorageTimeout, StorageUnavailable
from luna_image_store.imaging.render import Renderer
from luna_image_store.monitoring import metric_definitions
from luna_image_store.monitoring.prometheus import Metrics
from luna_image_store.storage.base import Storage

Given = ParamSpec("Given")
Result = TypeVar("Result")

NONE: Mapping[int, Callable[[], None]] = {}
UNMEASURED = {"list_keys"}  # works while its keys are taken, not while it is called
OPERATIONS = sorted(name for name, call in vars(Storage).items() if callable(call) and name[0] != "_" and name not in UNMEASURED)
FAILURES = {kind.spec.code for kind in (StorageUnavailable, StorageTimeout, StorageFull, RecordDamaged, InternalError)}


class MeasuredStorage:
    """Has all operations of a storage."""

    def __init__(self, storage: Storage, backend: str, metrics: Metrics) -> None:
        for name in OPERATIONS:
            failed = {code: metrics[metric_definitions.STORAGE_ERRORS].labels(backend, name, code).inc for code in FAILURES}
            observe = metrics[metric_definitions.STORAGE].labels(backend, name).observe
            setattr(self, name, timed(getattr(storage, name), observe, failed))
        for name in UNMEASURED:
            setattr(self, name, getattr(storage, name))


def measured_storage(storage: Storage, backend: str, metrics: Metrics) -> Storage:
    """Measure a storage."""
    return cast(Storage, MeasuredStorage(storage, backend, metrics))


def measured_renderer(renderer: Renderer, metrics: Metrics) -> Renderer:
    """Measure a renderer."""
    seconds = metrics[metric_definitions.RENDERER]
    return Renderer(
        timed(renderer.render, seconds.labels("render").observe), timed(renderer.preview, seconds.labels("preview").observe)
    )


def timed(
    call: Callable[Given, Result], observe: Callable[[float], None], failed: Mapping[int, Callable[[], None]] = NONE
) -> Callable[Given, Result]:
    """Tell how long each call took, however it ended; and that it failed, where its error has one of these codes."""

    def timed_call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        began = time.perf_counter()
        try:
            return call(*args, **kwargs)
        except Exception as ex:
            error = ex if isinstance(ex, ServiceError) else InternalError()
            if error.spec.code in failed:
                failed[error.spec.code]()
            raise
        finally:
            observe(time.perf_counter() - began)

    return timed_call
