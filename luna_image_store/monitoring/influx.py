"""Points for InfluxDB 2, one per request: gathered here, sent in the background, so that no request waits.

The library's own batching keeps what it can't send in a queue without an end, and tries for minutes. So the queue is ours, with
an end, and the library writes from it.
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
MAX_POINTS = 20_000  # that wait, per worker: 6 MB
BATCH = 5_000  # points that are written at once
CONNECT_SECONDS, WRITE_SECONDS = 2, 10
CLOSING_SECONDS = 3  # that the end of a worker waits for the last points
QUIET_SECONDS = 60  # between two lines about points that are lost
REFUSED = (400, 413, 422)  # the points themselves: they would be refused again

logger = logging.getLogger(__name__)


class InfluxWriter:
    """Sends what it hears of requests, until the worker ends."""

    def __init__(
        self,
        settings: InfluxSettings,
        dropped: Callable[[int], object],
        batch: int = BATCH,
        max_points: int = MAX_POINTS,
        closing_seconds: float = CLOSING_SECONDS,
    ) -> None:
        """Begin to send; `dropped` is called with the number of points that are lost."""
        self._batch, self._max_points, self._closing_seconds = batch, max_points, closing_seconds
        self._queue: deque[str] = deque()
        self._unsent: list[str] = []
        self._tell_dropped = dropped
        self._dropped, self._told_at = 0, 0.0
        self._is_failing = False
        self._bucket, self._period = settings.bucket, settings.flushing_period
        url = f"{'https' if settings.use_ssl else 'http'}://{settings.host}:{settings.port}"
        timeout = (CONNECT_SECONDS * 1000, WRITE_SECONDS * 1000)
        client = InfluxDBClient(url, settings.token, org=settings.organization, timeout=timeout)
        self._api = client.write_api(write_options=SYNCHRONOUS)
        self._due, self._is_over = Event(), False
        self._thread = Thread(target=self._run, name="influx", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def started(self) -> None:
        """Need nothing of it."""

    def finished(self, request: RequestSample) -> None:
        """Take a point, or drop it where too many wait."""
        if len(self._queue) >= self._max_points:
            self._drop(1)
            return
        self._take(point("requests", request))
        if request.error_code is not None:
            self._take(point("errors", request))

    def close(self) -> None:
        """Send the rest, if that is quickly done."""
        if self._is_over:
            return
        self._is_over = True
        self._due.set()
        self._thread.join(self._closing_seconds)
        if left := len(self._queue) + len(self._unsent):
            self._drop(left)
            logger.warning("InfluxDB: worker exits, %d points discarded", left)

    def _take(self, line: str) -> None:
        self._queue.append(line)
        if len(self._queue) == self._batch:
            self._due.set()

    def _run(self) -> None:
        while not self._is_over:
            self._due.wait(self._period)
            self._due.clear()
            self._flush()
        self._flush()  # what came since, or could not be sent a moment ago

    def _flush(self) -> None:
        """Send what waits; what can't be sent now is kept for the next time."""
        while self._unsent or self._queue:
            self._unsent = self._unsent or [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
            try:
                self._api.write(self._bucket, record="\n".join(self._unsent))
            except Exception as ex:  # whatever it is: this thread goes on
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
            logger.info("InfluxDB: connection restored, points are sent again")

    def _drop(self, number: int) -> None:
        self._dropped += number
        self._tell_dropped(number)

    def _report(self) -> None:
        if self._dropped and time.monotonic() - self._told_at > QUIET_SECONDS:
            logger.warning("InfluxDB: %d points discarded", self._dropped)
            self._dropped, self._told_at = 0, time.monotonic()


def point(measurement: str, request: RequestSample) -> str:
    """Write a point of a request in the line protocol. No part can hold a character that would have to be escaped."""
    error = f"error_code={request.error_code}," if measurement == "errors" else ""
    tags = f"{error}route={request.path},service={SERVICE},status_code={request.status}"
    fields = f'request_id="{request.request_id}",execution_time={request.seconds:.6f}'
    return f"{measurement},{tags} {fields} {request.started}"


def _reason(ex: Exception) -> str:
    """Say in a line what went wrong; the library's own words have several, with all headers."""
    return f"{ex.status} {ex.reason}" if isinstance(ex, ApiException) else f"{type(ex).__name__}: {ex}"
