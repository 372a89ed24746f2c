"""The application for a WSGI server."""

from luna_image_store.app import create_app
from luna_image_store.settings import load

application = create_app(load())
