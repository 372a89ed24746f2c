"""Processes that work in parallel, each with threads: Python computes on one core per process, and records wait for disk or S3.

They are fed batch by batch, never far ahead, so that memory stays flat. They end with the process that started them, however
that ends, and leave Ctrl+C to it.
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

PER_THREAD = 8  # items of a batch: enough to hide what it costs to hand them over, few enough to end soon
AHEAD = 3  # batches per process that wait for their turn, or are done before it

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[list[Item]], Result]

_made: Callable[[], Work[Any, Any]]  # gives the function of this process


@dataclass(frozen=True)
class ProcessPool(Generic[Item, Result]):
    """What works, on `parallel` items at once: `make(threads, *arguments)` gives each process its function for a batch."""

    make: Callable[..., Work[Item, Result]]
    arguments: tuple[Any, ...]
    parallel: int

    def results(self, items: Iterable[Item]) -> Iterator[Result]:
        """Give the result of each batch, in order. On Ctrl+C those that were begun still come."""
        processes = min(self.parallel, concurrency.cores())
        threads = -(-self.parallel // processes)
        pool = ProcessPoolExecutor(processes, get_context("spawn"), _begin, (self.make, threads, *self.arguments))
        running: deque[Future[Result]] = deque()
        try:
            for batch in _batches(items, PER_THREAD * threads):
                running.append(_submitted(pool, batch))
                if len(running) > AHEAD * processes:
                    yield _first(running)
            while running:
                yield _first(running)
        except KeyboardInterrupt:
            yield from [future.result() for future in running if not future.cancel()]
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, batch: list[Any]) -> "Future[Any]":
    """Hand over a batch. The process that may be started for it inherits the mask: Ctrl+C can't end it before `_begin`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_do, batch)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _first(running: deque[Future[Result]]) -> Result:
    result = running[0].result()
    running.popleft()
    return result


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _begin(make: Callable[..., Work[Any, Any]], *arguments: Any) -> None:
    """Prepare this process. Its function is made with the first batch, where it may fail like a batch."""
    global _made
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    _made = cache(partial(make, *arguments))


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
    os._exit(1)


def _do(batch: list[Any]) -> Any:
    try:
        work = _made()
    except SettingsError as ex:  # they were good enough for the process that started this one
        raise StorageUnavailable(str(ex)) from ex
    return work(batch)
