"""Options for `gunicorn -c gunicorn.conf.py luna_image_store.wsgi:application`, from the settings of the service."""

from luna_image_store.server.options import options
from luna_image_store.server.startup import load_settings

globals().update(options(load_settings()))
