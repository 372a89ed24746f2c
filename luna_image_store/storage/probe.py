"""Whether the storage works: probed when somebody asks, but not more often than the answer can have changed."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass
from threading import Lock, Thread

from luna_image_store.errors import ServiceError, StorageTimeout

TIMEOUT = 6.0  # seconds; on S3 a probe ends by itself a little earlier
TTL = 1.0  # seconds

Probe = Callable[[], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a run found: a fault, or none, after so many seconds."""

    fault: ServiceError | None
    seconds: float


class ProbeRun:
    """One run of a probe, in a thread of its own: a probe of a disk that hangs never ends.

    Callers wait for up to `patience` seconds from its start, and then get the result `otherwise`.
    """

    def __init__(self, probe: Probe, patience: float, otherwise: ProbeResult) -> None:
        self._until = time.monotonic() + patience
        self._otherwise = otherwise
        self._ended = 0.0
        self._is_late = False
        self._result: Future[ProbeResult] = Future()
        context = copy_context()  # log lines keep the request's id
        Thread(target=context.run, args=(self._run, probe), name="probe", daemon=True).start()

    def result(self) -> ProbeResult:
        """Wait for the result."""
        try:
            return self._result.result(max(0.0, self._until - time.monotonic()))
        except TimeoutError:
            if not self._is_late:
                self._is_late = True
                logger.error("storage: health check: no answer yet")
            return self._otherwise

    def is_older_than(self, ttl: float) -> bool:
        """Report whether the result is there and too old to be used."""
        return self._result.done() and time.monotonic() > self._ended + ttl

    def _run(self, probe: Probe) -> None:
        started, fault = time.perf_counter(), None
        try:
            probe()
        except ServiceError as ex:
            fault = ex
        except Exception as ex:  # the callers raise it
            self._result.set_exception(ex)
            return
        self._ended = time.monotonic()
        self._result.set_result(ProbeResult(fault, time.perf_counter() - started))


class CachedProbe:
    """Runs a probe once at a time. Its result serves all who ask during the run, and for `ttl` seconds after it."""

    def __init__(self, probe: Probe, timeout: float = TIMEOUT, ttl: float = TTL) -> None:
        """`timeout`: seconds after which a run counts as failed."""
        self._probe = probe
        self._timeout = timeout
        self._ttl = ttl
        self._lock = Lock()
        self._run: ProbeRun | None = None
        self._fault: ProbeResult | None = None  # of the last run, if it failed

    def result(self) -> ProbeResult:
        """Return a result that is at most `ttl` seconds old."""
        with self._lock:
            if self._run is None or self._run.is_older_than(self._ttl):
                self._run = self._start()
            run = self._run
        result = run.result()
        self._fault = result if result.fault else None
        return result

    def _start(self) -> ProbeRun:
        """Start a run. While a storage is known to fail, nobody waits for long."""
        if self._fault:
            return ProbeRun(self._probe, self._ttl, self._fault)
        return ProbeRun(self._probe, self._timeout, ProbeResult(StorageTimeout("health check"), self._timeout))
