"""Ask the service of this container whether it lives, where its settings say that it listens; the exit code tells if it answers.

Its storage is not asked for: that it is away is no reason to replace the container.
"""

import http.client
import socket
import sys

from luna_image_store.settings import load

SECONDS = 5


def connect(address: str) -> socket.socket:
    """Connect to an address as HTTP.BIND has it."""
    if not address.startswith("unix:"):
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), SECONDS)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(SECONDS)
    client.connect(address.removeprefix("unix:"))
    return client


connection = http.client.HTTPConnection("localhost")
connection.sock = connect(load().http.bind)
connection.request("GET", "/livez")
sys.exit(connection.getresponse().status != http.HTTPStatus.OK)
