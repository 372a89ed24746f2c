"""The health check of the storage. Requests share one probe, and its result for a short time."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass
from threading import Lock, Thread

from luna_image_store.errors import ServiceError, StorageTimeout

TIMEOUT = 6.0  # seconds; a probe of S3 times out a little earlier
TTL = 1.0  # seconds

Probe = Callable[[], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of a probe: its error, if it failed, and its duration in seconds."""

    error: ServiceError | None
    seconds: float


class ProbeRun:
    """One run of a probe in a separate thread: a probe of a disk that hangs never ends.

    Callers wait until `timeout` seconds after the start of the run. Then they get the result `on_timeout`.
    """

    def __init__(self, probe: Probe, timeout: float, on_timeout: ProbeResult) -> None:
        self._deadline = time.monotonic() + timeout
        self._on_timeout = on_timeout
        self._ended_at = 0.0
        self._is_timeout_logged = False
        self._result: Future[ProbeResult] = Future()
        context = copy_context()  # log lines of the thread have the request id
        Thread(target=context.run, args=(self._run, probe), name="probe", daemon=True).start()

    def result(self) -> ProbeResult:
        """Wait for the result, and return it."""
        try:
            return self._result.result(max(0.0, self._deadline - time.monotonic()))
        except TimeoutError:
            if not self._is_timeout_logged:
                self._is_timeout_logged = True
                logger.error("storage: health check: no answer yet")
            return self._on_timeout

    def is_older_than(self, ttl: float) -> bool:
        """Return whether the run ended more than `ttl` seconds ago."""
        return self._result.done() and time.monotonic() > self._ended_at + ttl

    def _run(self, probe: Probe) -> None:
        started, error = time.perf_counter(), None
        try:
            probe()
        except ServiceError as ex:
            error = ex
        except Exception as ex:  # the callers raise it
            self._result.set_exception(ex)
            return
        self._ended_at = time.monotonic()
        self._result.set_result(ProbeResult(error, time.perf_counter() - started))


class CachedProbe:
    """Runs one probe at a time. All callers during the run, and for `ttl` seconds after it, get its result."""

    def __init__(self, probe: Probe, timeout: float = TIMEOUT, ttl: float = TTL) -> None:
        """`timeout`: seconds after which a run has failed."""
        self._probe = probe
        self._timeout = timeout
        self._ttl = ttl
        self._lock = Lock()
        self._run: ProbeRun | None = None
        self._failure: ProbeResult | None = None  # the last result, if it is an error

    def result(self) -> ProbeResult:
        """Return a result that is at most `ttl` seconds old, or the result of a timeout."""
        with self._lock:
            if self._run is None or self._run.is_older_than(self._ttl):
                self._run = self._start()
            run = self._run
        result = run.result()
        self._failure = result if result.error else None
        return result

    def _start(self) -> ProbeRun:
        """Start a run. After a failed run, callers wait only `ttl` seconds for the next one."""
        if self._failure:
            return ProbeRun(self._probe, self._ttl, self._failure)
        return ProbeRun(self._probe, self._timeout, ProbeResult(StorageTimeout("health check"), self._timeout))
