"""A Falcon application that returns files from memory, in the service's server or in gunicorn: the maximum rate of GET."""

import sys
from pathlib import Path
from typing import Any

import falcon

from luna_image_store.server.application import Server


class FileResource:
    """The files of a directory, read at start."""

    def __init__(self, folder: Path) -> None:
        self._contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Return a file."""
        resp.content_type = falcon.MEDIA_JPEG
        resp.data = self._contents[name]


class MemoryServer(Server):
    """The workers of the service with another application."""

    def load(self) -> Any:
        """Create the application."""
        return application(sys.argv[1])


def application(folder: str) -> Any:
    """Create the application."""
    app = falcon.App()
    app.add_route("/{name}", FileResource(Path(folder)))
    return app


if __name__ == "__main__":
    MemoryServer(None).run()
