"""Whether the storage works: looked at when somebody asks, but not more often than the answer can have changed."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass
from threading import Lock, Thread

from luna_image_store.errors import ServiceError, StorageTimeout

LIMIT = 6.0  # seconds after which a check counts as failed; on S3 it gives up by itself a little earlier
KEPT = 1.0  # seconds for which the finding of a check is good

Look = Callable[[], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: a fault, or none, after so many seconds."""

    fault: ServiceError | None
    seconds: float


class Check:
    """One look at the storage, in a thread of its own: that at a disk that hangs never ends.

    Who asks waits for `patience` seconds from its start, and then gets the finding `otherwise`.
    """

    def __init__(self, look: Look, patience: float, otherwise: Finding) -> None:
        self._until = time.monotonic() + patience
        self._otherwise = otherwise
        self._good_until = 0.0
        self._is_late = False
        self._found: Future[Finding] = Future()
        context = copy_context()  # log lines keep the request's id
        Thread(target=context.run, args=(self._run, look), name="health", daemon=True).start()

    def find(self) -> Finding:
        """Wait for the finding."""
        try:
            return self._found.result(max(0.0, self._until - time.monotonic()))
        except TimeoutError:
            if not self._is_late:
                self._is_late = True
                logger.error("storage: check the storage: no answer yet")
            return self._otherwise

    def is_over(self) -> bool:
        """Tell whether the finding is too old to be used."""
        return self._found.done() and time.monotonic() > self._good_until

    def _run(self, look: Look) -> None:
        started, fault = time.perf_counter(), None
        try:
            look()
        except ServiceError as ex:
            fault = ex
        except Exception as ex:  # whoever waits tells of it
            self._found.set_exception(ex)
            return
        self._good_until = time.monotonic() + KEPT
        self._found.set_result(Finding(fault, time.perf_counter() - started))


class Health:
    """Looks at a storage, once at a time; who asks meanwhile, or soon after, gets the finding of the same check."""

    def __init__(self, look: Look, limit: float = LIMIT) -> None:
        self._look = look
        self._limit = limit
        self._lock = Lock()
        self._check: Check | None = None
        self._fault: Finding | None = None  # of the last check, if it failed

    def find(self) -> Finding:
        """Tell how the storage is now, or was within the last second."""
        with self._lock:
            if self._check is None or self._check.is_over():
                self._check = self._begin()
            check = self._check
        finding = check.find()
        self._fault = finding if finding.fault else None
        return finding

    def _begin(self) -> Check:
        """Begin a check. While a storage is known to be broken, nobody waits for long."""
        if self._fault:
            return Check(self._look, KEPT, self._fault)
        return Check(self._look, self._limit, Finding(StorageTimeout("check the storage"), self._limit))
