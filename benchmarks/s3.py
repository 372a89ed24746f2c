"""Measure saves on S3 (Swift): one S3 object per image, five S3 objects per image, and the CPU time of boto3."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import servers
from load import measure_in_turns, post
from measurements import Bench, Row, row

from luna_image_store.app import create_app
from luna_image_store.imaging.render import RenderSettings, render
from luna_image_store.server.application import Server
from luna_image_store.settings import load
from luna_image_store.storage.base import Key, Kind
from luna_image_store.storage.record import NewRecord, encode
from luna_image_store.storage.s3.backend import S3Storage
from tests.swift import Swift

REQUESTS = 300
CONNECTIONS = 4  # Swift is slow: with more connections, requests exceed the time-out of wrk


class FiveObjects(S3Storage):
    """Stores each preview in a separate S3 object."""

    def put(self, bucket: str, key: Key, draft: NewRecord, payload: Any) -> None:
        """Save the record with five requests."""
        for size, preview in draft.previews.items():
            self._s3("save", "put_object", bucket, Key(key.kind, f"{key.id}_{size}"), Body=preview, ContentType="image/jpeg")
        super().put(bucket, key, replace(draft, previews={}), payload)


class FiveObjectsServer(Server):
    """The service with five S3 objects per image."""

    def load(self) -> Any:
        """Create the application."""
        settings = load()
        return create_app(settings, FiveObjects(settings.s3, 8))


def saving_on_s3(bench: Bench) -> Iterator[Row]:
    """Compare one S3 object per image with five, and measure the CPU time of the service and of boto3 per image."""
    image, work = bench.images["face"], bench.work / "s3"
    with ExitStack() as stack:
        swift = stack.enter_context(Swift(work / "swift"))
        settings = {f"LUNA_IMAGE_STORE__{key}": str(value) for key, value in swift.account.settings().items()}
        one = stack.enter_context(servers.service(work / "one", settings))
        five = stack.enter_context(servers.service(work / "five", settings, (sys.executable, Path(__file__))))
        costs: dict[str, list[float]] = {"service": [], "five S3 objects": []}

        def measure(name: str, server: servers.Running) -> float:
            before = _cpu_seconds(server)
            rate = post(server.images, image, bench.seconds, CONNECTIONS).rate
            costs[name].append(1000 * (_cpu_seconds(server) - before) / (rate * bench.seconds))
            return rate

        turns = {"service": lambda: measure("service", one), "five S3 objects": lambda: measure("five S3 objects", five)}
        rates = measure_in_turns(bench.rounds, turns)
        costs["boto3"] = [_put_object(swift, image.read_bytes()) for _ in range(bench.rounds)]
    yield row("saves on S3, relative to five S3 objects per image", "face", rates, "service", "five S3 objects", 2.5)
    for name in ("service", "five S3 objects"):
        yield Row("CPU time of the service per image on S3", "face", "ms", {name: costs[name]})
    yield Row("CPU time of boto3 for one PutObject", "face", "ms", {"boto3": costs["boto3"]})


def _cpu_seconds(server: servers.Running) -> float:
    workers = psutil.Process(server.pid).children()
    return sum(sum(worker.cpu_times()[:2]) for worker in workers)


def _put_object(swift: Swift, data: bytes) -> float:
    """Return the CPU time in milliseconds of one request with the record of an image."""
    image = render(data, RenderSettings())
    record = b"".join(encode(NewRecord("image/jpeg", size=image.size, previews=image.previews), [image.jpeg]))
    settings = load(environ={f"LUNA_IMAGE_STORE__{key}": str(value) for key, value in swift.account.settings().items()})
    storage = S3Storage(settings.s3, 1)
    key = Key(Kind.IMAGE, "141d2706-8baf-433b-82eb-8c7fada847da")
    started = time.process_time()
    for _ in range(REQUESTS):
        storage._s3("save", "put_object", servers.BUCKET, key, Body=record, ContentType="image/jpeg")
    return 1000 * (time.process_time() - started) / REQUESTS


if __name__ == "__main__":
    FiveObjectsServer(None).run()
