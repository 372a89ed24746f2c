"""Worker processes with threads: Python computes on one core per process, and threads wait for disk or S3.

The pool submits few batches ahead, so that memory does not grow. Worker processes end with their parent process, even if it is
killed. They ignore Ctrl+C; the parent handles it.
"""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, Generic, TypeVar

from luna_image_store import concurrency
from luna_image_store.errors import StorageUnavailable
from luna_image_store.settings import SettingsError

PER_THREAD = 8  # items of a batch for each thread: enough to hide the cost of the transfer, few enough to finish soon
AHEAD = 3  # batches per process that are waiting, or finished before an earlier one

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[list[Item]], Result]

_get_work: Callable[[], Work[Any, Any]]  # returns the function of this process for a batch


@dataclass(frozen=True)
class ProcessPool(Generic[Item, Result]):
    """Processes `parallel` items at the same time. Each process calls `make(threads, *arguments)` for its function for a batch."""

    make: Callable[..., Work[Item, Result]]
    arguments: tuple[Any, ...]
    parallel: int

    def results(self, items: Iterable[Item]) -> Iterator[Result]:
        """Yield the result of each batch, in order. On Ctrl+C, yield the results of running batches before the exception."""
        processes = min(self.parallel, concurrency.cores())
        threads = -(-self.parallel // processes)
        pool = ProcessPoolExecutor(processes, get_context("spawn"), _initialize, (self.make, threads, *self.arguments))
        running: deque[Future[Result]] = deque()
        try:
            for batch in _batches(items, PER_THREAD * threads):
                running.append(_submit(pool, batch))
                if len(running) > AHEAD * processes:
                    yield _pop_first(running)
            while running:
                yield _pop_first(running)
        except KeyboardInterrupt:
            yield from [future.result() for future in running if not future.cancel()]
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, batch: list[Any]) -> "Future[Any]":
    """Submit a batch. A process that is started for it inherits the signal mask: Ctrl+C cannot end it before `_initialize`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_process, batch)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _pop_first(running: deque[Future[Result]]) -> Result:
    result = running[0].result()
    running.popleft()
    return result


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def _initialize(make: Callable[..., Work[Any, Any]], *arguments: Any) -> None:
    """Prepare this process. The first batch makes its function, so that an error in it is an error of the batch."""
    global _get_work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    _get_work = cache(partial(make, *arguments))


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
    os._exit(1)


def _process(batch: list[Any]) -> Any:
    try:
        work = _get_work()
    except SettingsError as ex:  # the settings were valid in the parent process
        raise StorageUnavailable(str(ex)) from ex
    return work(batch)
