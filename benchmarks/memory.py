"""A Falcon application that gives files out of memory, under the service's own server or gunicorn's: as fast as a GET can be."""

import sys
from pathlib import Path
from typing import Any

import falcon

from luna_image_store.server.application import Server


class Files:
    """The files of a folder, read at start."""

    def __init__(self, folder: Path) -> None:
        self._contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Give a file out."""
        resp.content_type = falcon.MEDIA_JPEG
        resp.data = self._contents[name]


class MemoryServer(Server):
    """The service's workers with another application in them."""

    def load(self) -> Any:
        """Make the application."""
        return application(sys.argv[1])


def application(folder: str) -> Any:
    """Make the application."""
    app = falcon.App()
    app.add_route("/{name}", Files(Path(folder)))
    return app


if __name__ == "__main__":
    MemoryServer(None).run()
