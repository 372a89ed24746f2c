"""The WSGI application."""

from luna_image_store.app import create_app
from luna_image_store.server.startup import current_settings

application = create_app(current_settings())
