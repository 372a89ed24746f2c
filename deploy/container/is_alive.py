"""Health check of the container: exit with 0 if GET /livez on the address HTTP.BIND returns 200.

It does not check the storage: a new container would not repair it.
"""

import http.client
import socket
import sys

from luna_image_store.settings import load

TIMEOUT = 5  # seconds


def connect(address: str) -> socket.socket:
    """Connect to `HOST:PORT` or `unix:PATH`."""
    if not address.startswith("unix:"):
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), TIMEOUT)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(TIMEOUT)
    client.connect(address.removeprefix("unix:"))
    return client


connection = http.client.HTTPConnection("localhost")
connection.sock = connect(load().http.bind)
connection.request("GET", "/livez")
sys.exit(connection.getresponse().status != http.HTTPStatus.OK)
