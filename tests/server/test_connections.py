import errno
import json
import os
import select
import socket
import time
from contextlib import closing, suppress

import pytest

from luna_image_store.connections import STEP, Connection
from luna_image_store.workers import MARGIN, ThreadedWorker

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n"


@pytest.fixture
def both():
    """Give the two ends of a connection: the service's and the client's."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    with closing(Connection(ours, lambda: None, 5)) as connection, theirs:
        yield connection, theirs


def fault(connection):
    ThreadedWorker.handle_error(None, None, connection, None, OSError(errno.EIO, os.strerror(errno.EIO)))
    connection.close()


def test_who_neither_sends_nor_reads_is_given_up_before_the_worker_is():
    ours, theirs = socket.socketpair()
    with closing(Connection(ours, lambda: None, 3)) as connection, theirs:
        with suppress(BlockingIOError):
            while True:
                ours.send(bytes(STEP), socket.MSG_DONTWAIT)
        started = time.monotonic()
        for talk in (lambda: connection.recv(1), lambda: connection.send(b"too slow")):
            with pytest.raises(ConnectionResetError):
                talk()
        assert 3 <= time.monotonic() - started < 3 + MARGIN / 2


def all_of(client):
    return b"".join(iter(lambda: client.recv(65536), b""))


def test_head_and_body_leave_together(both):
    connection, client = both
    connection.sendall(HEAD)
    assert select.select([client], (), (), 0.1)[0] == []
    connection.sendall(b"x" * 300)
    connection.flush()
    assert client.recv(65536) == HEAD + b"x" * 300


def test_what_is_large_is_not_held_back(both):
    connection, client = both
    connection.sendall(HEAD)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * STEP)
    connection._client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * STEP)
    connection.sendall(b"x" * STEP)
    assert client.recv(len(HEAD)) == HEAD


def test_a_fault_before_anything_has_left_is_answered(both):
    connection, client = both
    connection.sendall(HEAD)
    fault(connection)
    head, _, body = all_of(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert json.loads(body)["error_code"] == 1


def test_a_fault_within_an_answer_cuts_it_off(both):
    connection, client = both
    connection.sendall(HEAD)
    connection.flush()
    connection.sendall(b"x" * 10)
    fault(connection)
    assert all_of(client) == HEAD
