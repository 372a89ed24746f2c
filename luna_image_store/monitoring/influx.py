"""Points for InfluxDB 2, one per request. A thread sends them in the background, so that no request waits.

The batching of the library is not used: its queue of unsent points has no limit, and it retries for minutes. The queue of this
module is limited.
"""

import atexit
import logging
import time
from collections import deque
from collections.abc import Callable
from threading import Event, Thread

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from luna_image_store.monitoring.samples import RequestSample
from luna_image_store.settings import InfluxSettings

SERVICE = "luna-image-store"
MAX_POINTS = 20_000  # waiting points per worker: 6 MB
BATCH_SIZE = 5_000  # points per request to InfluxDB
CONNECT_SECONDS, WRITE_SECONDS = 2, 10
CLOSING_SECONDS = 3  # how long the end of a worker waits for the last points
REPORT_SECONDS = 60  # minimum time between two log lines about discarded points
REFUSED = (400, 413, 422)  # the points are invalid: InfluxDB would refuse them again

logger = logging.getLogger(__name__)


class InfluxWriter:
    """Sends a point per request until the worker ends."""

    def __init__(
        self,
        settings: InfluxSettings,
        dropped: Callable[[int], object],
        batch_size: int = BATCH_SIZE,
        max_points: int = MAX_POINTS,
        closing_seconds: float = CLOSING_SECONDS,
    ) -> None:
        """Start to send points. Call `dropped` with the number of discarded points."""
        self._batch_size, self._max_points, self._closing_seconds = batch_size, max_points, closing_seconds
        self._queue: deque[str] = deque()
        self._unsent: list[str] = []
        self._count_dropped = dropped
        self._dropped, self._reported_at = 0, 0.0
        self._is_failing = False
        self._bucket, self._period = settings.bucket, settings.flushing_period
        url = f"{'https' if settings.use_ssl else 'http'}://{settings.host}:{settings.port}"
        timeout = (CONNECT_SECONDS * 1000, WRITE_SECONDS * 1000)
        client = InfluxDBClient(url, settings.token, org=settings.organization, timeout=timeout)
        self._api = client.write_api(write_options=SYNCHRONOUS)
        self._flush_now, self._is_closed = Event(), False
        self._thread = Thread(target=self._run, name="influx", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def started(self) -> None:
        """Do nothing: a point needs the end of the request."""

    def finished(self, request: RequestSample) -> None:
        """Add the points of a request to the queue. Drop them if the queue is full."""
        if len(self._queue) >= self._max_points:
            self._drop(1)
            return
        self._add(point("requests", request))
        if request.error_code is not None:
            self._add(point("errors", request))

    def close(self) -> None:
        """Send the remaining points, and discard the points that cannot be sent in time."""
        if self._is_closed:
            return
        self._is_closed = True
        self._flush_now.set()
        self._thread.join(self._closing_seconds)
        if left := len(self._queue) + len(self._unsent):
            self._drop(left)
            logger.warning("InfluxDB: worker exits, %d points discarded", left)

    def _add(self, line: str) -> None:
        self._queue.append(line)
        if len(self._queue) == self._batch_size:
            self._flush_now.set()

    def _run(self) -> None:
        while not self._is_closed:
            self._flush_now.wait(self._period)
            self._flush_now.clear()
            self._flush()
        self._flush()  # points that are new, or could not be sent before

    def _flush(self) -> None:
        """Send the waiting points. Keep points that cannot be sent for the next call."""
        while self._unsent or self._queue:
            self._unsent = self._unsent or [self._queue.popleft() for _ in range(min(self._batch_size, len(self._queue)))]
            try:
                self._api.write(self._bucket, record="\n".join(self._unsent))
            except Exception as ex:  # the thread continues after any error
                self._fail(ex)
                if getattr(ex, "status", None) not in REFUSED:
                    break
                self._drop(len(self._unsent))
            else:
                self._recover()
            self._unsent = []
        self._report()

    def _fail(self, ex: Exception) -> None:
        if not self._is_failing:
            self._is_failing = True
            logger.warning("InfluxDB: cannot send points: %s", _reason(ex))

    def _recover(self) -> None:
        if self._is_failing:
            self._is_failing = False
            logger.info("InfluxDB: points are accepted again")

    def _drop(self, number: int) -> None:
        self._dropped += number
        self._count_dropped(number)

    def _report(self) -> None:
        if self._dropped and time.monotonic() - self._reported_at > REPORT_SECONDS:
            logger.warning("InfluxDB: %d points discarded", self._dropped)
            self._dropped, self._reported_at = 0, time.monotonic()


def point(measurement: str, request: RequestSample) -> str:
    """Return a point of a request in the line protocol. No part can contain a character that needs an escape."""
    error = f"error_code={request.error_code}," if measurement == "errors" else ""
    tags = f"{error}route={request.path},service={SERVICE},status_code={request.status}"
    fields = f'request_id="{request.request_id}",execution_time={request.seconds:.6f}'
    return f"{measurement},{tags} {fields} {request.started}"


def _reason(ex: Exception) -> str:
    """Return the reason of an error in one line. The text of the library has several lines, with all headers."""
    return f"{ex.status} {ex.reason}" if isinstance(ex, ApiException) else f"{type(ex).__name__}: {ex}"
