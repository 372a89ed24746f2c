"""The service behind nginx, with the site file of the package."""

import os
import re
from collections.abc import Iterator

import pytest

from .images import jpeg_size, noise_image
from .nginx import nginx
from .service import Answer, Endpoint, Service, read_answer

MIB = 2**20
IMAGES, OBJECTS = "/1/buckets/photos/images", "/1/buckets/photos/objects"
REQUEST_ID = "1536751345,8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
IS_REQUEST_ID = re.compile("[0-9]{10},[a-f0-9]{8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}").fullmatch


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start a service with one worker, so that a blocked worker fails a test."""
    folder = tmp_path_factory.mktemp("behind")
    service = Service(folder, HTTP__WORKERS=1, HTTP__BIND=f"unix:{folder}/http.sock")
    try:
        yield service.start()
    finally:
        service.end()


@pytest.fixture(scope="module")
def proxy(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with nginx(tmp_path_factory.mktemp("nginx"), f"unix:{service.root.parent}/http.sock") as proxy:
        proxy.make_bucket()
        yield proxy


@pytest.fixture
def image_url(proxy: Endpoint) -> str:
    answer = proxy.post(IMAGES, noise_image(), headers={"X-Luna-Meta-Camera": "north"})
    assert answer.status_code == 201
    assert answer.headers["Location"] == answer.json()["url"]
    return str(answer.json()["url"])


def test_nginx_passes_images_and_previews(proxy: Endpoint, image_url: str) -> None:
    answer = proxy.get(image_url)
    assert answer.content == noise_image()
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert jpeg_size(proxy.get(f"{image_url}_96").content) == (96, 64)


def test_nginx_passes_conditional_and_range_requests(proxy: Endpoint, image_url: str) -> None:
    tag = proxy.get(image_url).headers["ETag"]
    assert not tag.startswith("W/")
    assert proxy.get(image_url, headers={"If-None-Match": tag}).status_code == 304
    part = proxy.get(image_url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, noise_image()[10:20])
    assert proxy.get(image_url, headers={"Range": "bytes=99999999-"}).status_code == 416


def test_nginx_passes_head_requests(proxy: Endpoint, image_url: str) -> None:
    answer = proxy.request("HEAD", image_url)
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(len(noise_image())))


def test_nginx_passes_metadata(proxy: Endpoint, image_url: str) -> None:
    assert proxy.get(f"{image_url}?with_meta=1").headers["X-Luna-Meta-Camera"] == "north"


def test_nginx_passes_deletions_with_and_without_a_body(proxy: Endpoint, image_url: str) -> None:
    ids = [proxy.post(IMAGES, noise_image()).json()["image_id"] for _ in range(3)]
    assert proxy.delete(IMAGES, json={"images": ids}).status_code == 204
    assert {proxy.get(f"{IMAGES}/{image_id}").status_code for image_id in ids} == {404}
    assert proxy.delete(image_url).status_code == 204
    assert proxy.delete(image_url).status_code == 404


def test_nginx_passes_large_objects(proxy: Endpoint) -> None:
    data = b"PK\x03\x04" + os.urandom(20 * MIB)
    url = proxy.post(OBJECTS, data, headers={"Content-Type": "application/zip"}).json()["url"]
    assert proxy.get(url).content == data


def test_nginx_passes_chunked_bodies(proxy: Endpoint) -> None:
    url = proxy.post(IMAGES, iter([noise_image()[:100], noise_image()[100:]])).json()["url"]
    assert proxy.get(url).content == noise_image()


def test_the_service_enforces_the_size_limit_of_images(proxy: Endpoint) -> None:
    for size in (64 * MIB + 1, 70 * MIB):
        answer = proxy.post(IMAGES, bytes(size))
        assert (answer.status_code, answer.json()["error_code"]) == (413, 13903)
        assert answer.json()["detail"] == f"The limit is {64 * MIB} bytes"


def send_headers(proxy: Endpoint, size: int, request_id: str = REQUEST_ID) -> Answer | None:
    """Send headers with a Content-Length, and no body."""
    head = f"POST {OBJECTS} HTTP/1.1\r\nHost: h\r\nLuna-Request-Id: {request_id}\r\nContent-Length: {size}\r\n\r\n"
    return proxy.exchange(head.encode(), half_close=True)


def test_nginx_refuses_only_bodies_over_the_limit_of_objects(proxy: Endpoint) -> None:
    assert send_headers(proxy, 2**30) is None  # nginx waited for the body, and did not refuse
    answer = send_headers(proxy, 2**31)
    assert answer
    assert (answer.status, answer.json()["error_code"]) == (413, 13903)


def test_nginx_passes_or_creates_the_request_id(proxy: Endpoint, service: Service) -> None:
    assert proxy.get("/version", headers={"Luna-Request-Id": REQUEST_ID}).headers["Luna-Request-Id"] == REQUEST_ID
    created = proxy.get("/version").headers["Luna-Request-Id"]
    assert IS_REQUEST_ID(created)
    assert created in service.log()
    refused = proxy.get("/version", headers={"Luna-Request-Id": "mine"})
    assert (refused.status_code, refused.json()["error_code"]) == (400, 12046)


@pytest.mark.parametrize("request_id", [REQUEST_ID, "mine"], ids=["valid", "invalid"])
def test_error_responses_of_nginx_have_the_format_of_the_service(proxy: Endpoint, request_id: str) -> None:
    answer = send_headers(proxy, 2**31, request_id)
    assert answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error_code", "desc", "detail"}
    assert (answer.headers["luna-request-id"] == request_id) is (request_id == REQUEST_ID)
    assert IS_REQUEST_ID(answer.headers["luna-request-id"])
    for request in (b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"):
        answer = proxy.exchange(request)
        assert answer
        assert (answer.status, answer.json()["error_code"]) == (400, 12046)


SPELLINGS = (
    "/config",
    "//config",
    "/%63onfig",
    "/x/../config",
    "/./config?a=b",
    "/config/",
    "/metrics",
    "/livez",
    "/readyz",
    "/%72eadyz",
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_only_internal_networks_get_settings_metrics_and_probes(proxy: Endpoint, spelling: str) -> None:
    def status(client: str) -> int:
        answer = proxy.exchange(
            f"GET {spelling} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Client-Address: {client}\r\n\r\n".encode()
        )
        assert answer
        assert IS_REQUEST_ID(answer.headers["luna-request-id"])
        assert answer.status == 200 or answer.json()["error_code"] == 12013
        return answer.status

    assert {status(client) for client in ("203.0.113.9", "172.32.0.1", "8.8.8.8", "2001:db8::1")} == {404}
    if spelling == "/config":
        assert {status(client) for client in ("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.9.9", "::1", "fd00::1")} == {200}


def test_each_response_has_each_security_header_once(proxy: Endpoint, image_url: str) -> None:
    too_large = f"POST {OBJECTS} HTTP/1.1\r\nHost: h\r\nContent-Length: {2**31}\r\n\r\n".encode()
    for path in (image_url, f"{image_url}_50", "/version", "/missing", "/docs/spec", "/docs/dev/index.html", None):
        with proxy.connection() as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode() if path else too_large)
            head = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")[0].lower()
        for line in (b"\r\nx-content-type-options: nosniff", b"\r\nx-frame-options: deny", b"\r\nluna-request-id: "):
            assert head.count(line) == 1, (path, head)


def test_forwarding_headers_of_a_client_have_no_effect(proxy: Endpoint) -> None:
    for name, value in (
        ("X-Forwarded-Protocol", "ssl"),
        ("X-Forwarded-Ssl", "on"),
        ("X-Forwarded-Proto", "https"),
        ("SCRIPT_NAME", "/x"),
    ):
        assert proxy.get("/version", headers={name: value}).status_code == 200


def test_a_slow_client_does_not_block_the_worker(proxy: Endpoint) -> None:
    data = noise_image()
    with proxy.connection() as slow:
        slow.sendall(
            f"POST {IMAGES} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[:99]
        )
        assert proxy.get("/version", timeout=30).status_code == 200
        slow.sendall(data[99:])
        answer = read_answer(slow)
    assert answer
    assert answer.status == 201


def test_a_stopped_service_is_reported_as_503_in_json(proxy: Endpoint, service: Service) -> None:
    assert service.stop() == 0
    answer = proxy.get("/version")
    assert (answer.status_code, answer.json()["error_code"]) == (503, 13905)
    assert IS_REQUEST_ID(answer.headers["Luna-Request-Id"])
    service.start()
    assert proxy.get("/version").status_code == 200
