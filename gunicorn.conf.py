"""Options for `gunicorn -c gunicorn.conf.py luna_image_store.wsgi:application`; all are made from the settings."""

from luna_image_store.server.options import options
from luna_image_store.server.startup import load_settings

globals().update(options(load_settings()))
