"""The points themselves, and what becomes of them when they can't be sent."""

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
GOOD = RequestSample("POST:/buckets/{bucket}/images", 201, None, ID, 1536751345123456789, 0.00125, 25_000, 300)
BAD = GOOD._replace(status=404, error_code=13901)


class Server(ThreadingHTTPServer):
    """Answers writes with the status of the moment, and keeps what it was sent."""

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
def send(dropped):
    """Make senders that end with the test."""
    made = []

    def make(port, period="0.02", **limits):
        given = {"PORT": str(port), "TOKEN": "token", "ORGANIZATION": "us", "BUCKET": "ours", "FLUSHING_PERIOD": period}
        section = load(environ={f"LUNA_IMAGE_STORE__INFLUX_MONITORING__{key}": value for key, value in given.items()})
        made.append(InfluxWriter(section.influx, dropped.append, **limits))
        return made[-1]

    yield make
    for points in made:
        points.close()


def test_a_point_has_the_tags_fields_and_time_of_the_interface():
    tags = "route=POST:/buckets/{bucket}/images,service=luna-image-store,status_code="
    fields = f'request_id="{ID}",execution_time=0.001250 1536751345123456789'
    assert point("requests", GOOD) == f"requests,{tags}201 {fields}"
    assert point("errors", BAD) == f"errors,error_code=13901,{tags}404 {fields}"


def test_a_token_that_can_not_be_sent_is_refused_and_not_shown():
    with pytest.raises(SettingsError, match="TOKEN: Must be printable") as refused:
        load(environ={"LUNA_IMAGE_STORE__INFLUX_MONITORING__TOKEN": "secret\n"})
    assert "secret" not in str(refused.value)


def test_points_are_written_in_batches_to_where_the_settings_say(send, server):
    points = send(server.server_port, "3600")
    for request in (GOOD, BAD, GOOD):
        points.finished(request)
    points.close()
    ((path, token, lines),) = server.received
    assert path.partition("?")[0] == "/api/v2/write"
    assert {"org=us", "bucket=ours", "precision=ns"} <= set(path.partition("?")[2].split("&"))
    assert token == "Token token"
    assert lines == [point("requests", GOOD), point("requests", BAD), point("errors", BAD), point("requests", GOOD)]


def test_a_full_batch_does_not_wait_for_its_time(send, server):
    points = send(server.server_port, "3600", batch=10)
    for _ in range(5):
        points.finished(BAD)
    wait_until(lambda: server.received)
    assert server.received[0][2] == [point("requests", BAD), point("errors", BAD)] * 5


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_points_wait_until_the_server_takes_them(send, server, dropped, caplog, status):
    server.status = status
    points = send(server.server_port)
    points.finished(GOOD)
    wait_until(lambda: len(server.received) > 2)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    assert f"points can't be sent: {status} " in caplog.text
    server.status = 204
    wait_until(lambda: 204 in server.statuses)
    points.close()
    assert {tuple(lines) for _, _, lines in server.received} == {(point("requests", GOOD),)}
    assert dropped == []
    assert "token" not in caplog.text


def test_points_that_the_server_will_never_take_are_given_up(send, server, dropped):
    server.status = 400
    points = send(server.server_port)
    points.finished(GOOD)
    wait_until(lambda: dropped == [1])
    server.status = 204
    points.finished(BAD)
    points.close()
    assert server.received[-1][2] == [point("requests", BAD), point("errors", BAD)]


def test_no_more_points_wait_than_there_is_room_for_and_the_rest_is_counted(send, dropped, caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        points = send(silent.getsockname()[1], "0.001", max_points=100, closing_seconds=0.1)
        points.finished(GOOD)
        with silent.accept()[0]:  # one is being sent, and no more will be
            for _ in range(250):
                points.finished(GOOD)
            assert sum(dropped) == 150
            started = time.monotonic()
            points.close()
            assert time.monotonic() - started < 5  # the server would be waited for twice as long
    assert sum(dropped) == 251
    assert "101 points are lost" in caplog.text
