"""Several services on one S3 service, and deletions of buckets that outlast a request or a service."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import pytest

from tests.s3_proxy import Failure, S3Proxy

from ..machine import wait_until
from ..swift import PAGE, Account, Swift
from .conftest import Start
from .images import noise_image, with_comment
from .nginx import nginx
from .raw_storage import RawS3, RawStorage
from .service import Endpoint, Service

IMAGES = "/1/buckets/photos/images"
# the first page takes longer than a request waits before the deletion continues in the background
SLOW_PAGES = Failure(delay=6, where=r"\?delete$")


@pytest.fixture
def account(swift: Swift) -> Account:
    return swift.fresh_account()


@pytest.fixture
def proxy(account: Account) -> Iterator[S3Proxy]:
    with S3Proxy(account.endpoint) as proxy:
        yield proxy


@pytest.fixture
def storage(account: Account, proxy: S3Proxy) -> RawS3:
    return RawS3(account, proxy.endpoint)


@pytest.fixture
def instances(tmp_path: Path, storage: RawStorage) -> Iterator[tuple[Service, Service]]:
    with ExitStack() as stack:
        first, second = (Service(tmp_path / name, storage, HTTP__WORKERS=1) for name in ("first", "second"))
        for service in (first, second):
            service.root.parent.mkdir()
            stack.callback(service.end)
            service.start()
        yield first, second


@pytest.fixture
def balancer(tmp_path: Path, instances: tuple[Service, Service]) -> Iterator[Endpoint]:
    with nginx(tmp_path, *(f"127.0.0.1:{service.port}" for service in instances)) as balancer:
        yield balancer


def test_acknowledged_changes_are_visible_on_all_instances(balancer: Endpoint, instances: tuple[Service, Service]) -> None:
    first, second = instances
    first.make_bucket()
    assert second.get("/1/buckets").json() == ["photos"]
    for number in range(10):
        old, new = with_comment(noise_image(), f"old {number}"), with_comment(noise_image(), f"new {number}")
        url = balancer.post(IMAGES, old).json()["url"]
        assert {first.get(url).content, second.get(url).content, balancer.get(url).content} == {old}
        assert first.put(url, new).status_code == 200
        assert {second.get(url).content, balancer.get(url).content} == {new}
        assert second.delete(url).status_code == 204
        assert first.get(url).status_code == 404
    assert all("POST /1/buckets/{bucket}/images 201" in service.log() for service in instances)
    assert second.delete("/1/buckets/photos").status_code == 202
    assert first.get("/1/buckets").json() == []


def test_deletion_of_a_large_bucket_continues_in_the_background(start: Start, storage: RawS3, proxy: S3Proxy) -> None:
    """Clients can request it again. Records saved during the deletion are deleted, or their saves are refused."""
    service = start()
    service.make_bucket()
    storage.fill("photos", 2 * PAGE + 1)
    with proxy.failing(SLOW_PAGES):
        assert service.delete("/1/buckets/photos").status_code == 202
        assert service.get("/1/buckets").json() == ["photos"]
        assert service.post(IMAGES, noise_image()).status_code == 201
    assert service.delete("/1/buckets/photos").status_code == 202

    def save_after_a_while() -> int:
        time.sleep(0.3)
        return service.post(IMAGES, noise_image()).status_code

    assert set(islice(iter(save_after_a_while, 404), 200)) <= {201}
    assert service.get("/1/buckets").json() == []
    assert "Traceback" not in service.log()


def test_killed_bucket_deletion_continues_when_requested_again(start: Start, storage: RawS3, proxy: S3Proxy) -> None:
    service = start()
    service.make_bucket()
    storage.fill("photos", 2 * PAGE + 1)
    with proxy.failing(SLOW_PAGES):
        assert service.delete("/1/buckets/photos").status_code == 202
        service.kill()  # the first page is deleted, the request for the second is running
    service.start()
    assert service.get("/1/buckets").json() == ["photos"]
    assert 0 < len(storage.names("photos")) <= PAGE + 1
    assert service.delete("/1/buckets/photos").status_code == 202
    wait_until(lambda: service.get("/1/buckets").json() == [], 60)
