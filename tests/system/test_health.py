"""Health checks by a load balancer, ten times a second."""

import time
from collections.abc import Iterator

import pytest

from tests.s3_proxy import Failure, S3Proxy

from ..machine import wait_until
from ..swift import Swift
from .raw_storage import RawS3
from .service import Service

PAUSE = 0.1
POLLS = 20


@pytest.fixture(scope="module")
def proxy(swift: Swift) -> Iterator[S3Proxy]:
    with S3Proxy(swift.account.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, swift: Swift, proxy: S3Proxy) -> Iterator[Service]:
    storage = RawS3(swift.fresh_account(), proxy.endpoint)
    service = Service(tmp_path_factory.mktemp("health"), storage, HTTP__WORKERS=1)
    try:
        yield service.start()
    finally:
        service.end()


def poll(service: Service) -> tuple[set[int], float]:
    """Request `/healthcheck` and `/readyz` in turn. Return the statuses and the duration in seconds."""
    started, statuses = time.monotonic(), set()
    for number in range(POLLS):
        statuses.add(service.get(("/healthcheck", "/readyz")[number % 2]).status_code)
        time.sleep(PAUSE)
    return statuses, time.monotonic() - started


def test_polling_sends_one_request_per_second_to_s3(service: Service, proxy: S3Proxy) -> None:
    with proxy.recorded() as lines:
        statuses, seconds = poll(service)
    assert statuses == {200}
    assert 2 <= len(lines) <= seconds + 1
    assert set(lines) == {"GET /"}


def test_polling_sends_no_more_requests_if_s3_fails(service: Service, proxy: S3Proxy) -> None:
    with proxy.failing(Failure(status=503, code="SlowDown")):
        wait_until(lambda: service.get("/healthcheck").status_code == 502)
        with proxy.recorded() as lines:
            statuses, seconds = poll(service)
    assert statuses == {502, 503}
    assert len(lines) <= seconds + 1
    wait_until(lambda: service.get("/healthcheck").status_code == 200)
