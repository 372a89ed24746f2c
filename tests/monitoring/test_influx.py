"""Points: their content, and how they are sent, retried and discarded."""

import logging
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from luna_image_store.monitoring.influx import InfluxWriter, point
from luna_image_store.monitoring.samples import RequestSample
from luna_image_store.settings import SettingsError, load
from tests.machine import wait_until

ID = "1536751345,8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
CREATED = RequestSample("POST:/buckets/{bucket}/images", 201, None, ID, 1536751345123456789, 0.00125, 25_000, 300)
MISSING = CREATED._replace(status=404, error_code=13901)


class Server(ThreadingHTTPServer):
    """An InfluxDB server: records the writes, and answers with the current `status`."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 204
        self.received = []
        self.statuses = set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.received.append((self.path, self.headers["Authorization"], body.splitlines()))
        status = self.server.status
        self.send_response(status)
        self.end_headers()
        self.server.statuses.add(status)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        yield server
        server.shutdown()


@pytest.fixture
def dropped():
    return []


@pytest.fixture
def create_writer(dropped):
    """Return a function that creates writers. They are closed after the test."""
    writers = []

    def create(port, period="0.02", **limits):
        values = {"PORT": str(port), "TOKEN": "token", "ORGANIZATION": "us", "BUCKET": "ours", "FLUSHING_PERIOD": period}
        section = load(environ={f"LUNA_IMAGE_STORE__INFLUX_MONITORING__{key}": value for key, value in values.items()})
        writers.append(InfluxWriter(section.influx, dropped.append, **limits))
        return writers[-1]

    yield create
    for writer in writers:
        writer.close()


def test_a_point_has_the_specified_tags_fields_and_time():
    tags = "route=POST:/buckets/{bucket}/images,service=luna-image-store,status_code="
    fields = f'request_id="{ID}",execution_time=0.001250 1536751345123456789'
    assert point("requests", CREATED) == f"requests,{tags}201 {fields}"
    assert point("errors", MISSING) == f"errors,error_code=13901,{tags}404 {fields}"


def test_an_invalid_token_is_refused_and_not_shown():
    with pytest.raises(SettingsError, match="TOKEN: Must be printable") as refused:
        load(environ={"LUNA_IMAGE_STORE__INFLUX_MONITORING__TOKEN": "secret\n"})
    assert "secret" not in str(refused.value)


def test_points_are_sent_in_batches_to_the_organization_and_bucket(create_writer, server):
    writer = create_writer(server.server_port, "3600")
    for request in (CREATED, MISSING, CREATED):
        writer.finished(request)
    writer.close()
    ((path, token, lines),) = server.received
    assert path.partition("?")[0] == "/api/v2/write"
    assert {"org=us", "bucket=ours", "precision=ns"} <= set(path.partition("?")[2].split("&"))
    assert token == "Token token"
    assert lines == [point("requests", CREATED), point("requests", MISSING), point("errors", MISSING), point("requests", CREATED)]


def test_a_full_batch_is_sent_before_the_end_of_the_period(create_writer, server):
    writer = create_writer(server.server_port, "3600", batch_size=10)
    for _ in range(5):
        writer.finished(MISSING)
    wait_until(lambda: server.received)
    assert server.received[0][2] == [point("requests", MISSING), point("errors", MISSING)] * 5


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_points_are_sent_again_until_the_server_accepts_them(create_writer, server, dropped, caplog, status):
    server.status = status
    writer = create_writer(server.server_port)
    writer.finished(CREATED)
    wait_until(lambda: len(server.received) > 2)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    assert f"cannot send points: {status} " in caplog.text
    server.status = 204
    wait_until(lambda: 204 in server.statuses)
    writer.close()
    assert {tuple(lines) for _, _, lines in server.received} == {(point("requests", CREATED),)}
    assert dropped == []
    assert "token" not in caplog.text


def test_points_that_the_server_refuses_as_invalid_are_discarded(create_writer, server, dropped):
    server.status = 400
    writer = create_writer(server.server_port)
    writer.finished(CREATED)
    wait_until(lambda: dropped == [1])
    server.status = 204
    writer.finished(MISSING)
    writer.close()
    assert server.received[-1][2] == [point("requests", MISSING), point("errors", MISSING)]


def test_points_beyond_the_limit_of_the_queue_are_discarded_and_counted(create_writer, dropped, caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        writer = create_writer(silent.getsockname()[1], "0.001", max_points=100, closing_seconds=0.1)
        writer.finished(CREATED)
        with silent.accept()[0]:  # the first point is being sent, and the server does not answer
            for _ in range(250):
                writer.finished(CREATED)
            assert sum(dropped) == 150
            started = time.monotonic()
            writer.close()
            assert time.monotonic() - started < 5  # the timeout for the server is twice as long
    assert sum(dropped) == 251
    assert "101 points discarded" in caplog.text
