"""The gunicorn application of the service."""

import sys
from typing import Any

from gunicorn.app.base import BaseApplication

from luna_image_store.app import create_app
from luna_image_store.server.options import options
from luna_image_store.server.startup import current_settings, load_settings
from luna_image_store.settings import SettingsError


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with options from the settings."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's options. gunicorn calls this at the start and at each reload."""
        try:
            settings = load_settings(self._path)
        except SettingsError as ex:
            sys.exit(f"luna-image-store: {ex}")
        for name, value in options(settings).items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Create the WSGI application. gunicorn calls this once per worker."""
        return create_app(current_settings())


def run(path: str | None) -> None:
    """Serve requests until a signal stops the service. Exit with a message if the settings are invalid."""
    Server(path).run()


def check_start(path: str | None) -> None:
    """Create the application as a worker does. Exit with a message if the settings are invalid."""
    try:
        create_app(load_settings(path))
    except SettingsError as ex:
        sys.exit(f"luna-image-store: {ex}")
