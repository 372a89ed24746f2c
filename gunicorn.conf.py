"""Options for `gunicorn -c gunicorn.conf.py luna_image_store.wsgi:application`; all are made from the settings."""

from luna_image_store.server import options
from luna_image_store.settings import load

globals().update(options(load()))
