"""Health that a balancer asks for ten times a second."""

import time
from collections.abc import Iterator

import pytest

from tests.s3_proxy import Fault, S3Proxy

from ..machine import wait_until
from ..swift import Swift
from .kept import OnS3
from .service import Service

PAUSE = 0.1
POLLS = 20


@pytest.fixture(scope="module")
def proxy(swift: Swift) -> Iterator[S3Proxy]:
    with S3Proxy(swift.account.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, swift: Swift, proxy: S3Proxy) -> Iterator[Service]:
    kept = OnS3(swift.fresh_account(), proxy.endpoint)
    service = Service(tmp_path_factory.mktemp("health"), kept, HTTP__WORKERS=1)
    try:
        yield service.start()
    finally:
        service.end()


def polled(service: Service) -> tuple[set[int], float]:
    """Ask for health and readiness by turns; give the statuses and the seconds that it took."""
    started, seen = time.monotonic(), set()
    for number in range(POLLS):
        seen.add(service.get(("/healthcheck", "/readyz")[number % 2]).status_code)
        time.sleep(PAUSE)
    return seen, time.monotonic() - started


def test_polling_costs_s3_a_request_a_second(service: Service, proxy: S3Proxy) -> None:
    with proxy.counted() as lines:
        seen, seconds = polled(service)
    assert seen == {200}
    assert 2 <= len(lines) <= seconds + 1
    assert set(lines) == {"GET /"}


def test_polling_costs_an_s3_that_fails_no_more(service: Service, proxy: S3Proxy) -> None:
    with proxy.broken(Fault(status=503, code="SlowDown")):
        wait_until(lambda: service.get("/healthcheck").status_code == 502)
        with proxy.counted() as lines:
            seen, seconds = polled(service)
    assert seen == {502, 503}
    assert len(lines) <= seconds + 1
    wait_until(lambda: service.get("/healthcheck").status_code == 200)
