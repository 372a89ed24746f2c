import re

import pytest

from luna_image_store.app import create_app
from luna_image_store.settings import load
from luna_image_store.storage.factory import create_storage
from tests.api.client import Client


class MetricsClient(Client):
    """A client that reads the metrics of the application."""

    def series(self, name):
        """Return the values of a metric by their labels, as text."""
        answer = self.simulate_get("/metrics")
        assert answer.status_code == 200
        found = re.findall(rf"(?m)^{name}(?:{{(.*)}})? (\S+)$", answer.text)
        return {labels: float(value) for labels, value in found}


@pytest.fixture
def make_client(root):
    def make(**settings):
        values = {"LUNA_SERVICE_METRICS__ENABLED": "true", "LOCAL_STORAGE__PATH": root, **settings}
        loaded = load(environ={f"LUNA_IMAGE_STORE__{name}": str(value) for name, value in values.items()})
        return MetricsClient(create_app(loaded, create_storage(loaded)))

    return make


@pytest.fixture
def client(make_client):
    client = make_client()
    client.simulate_post("/1/buckets", params={"bucket": "photos"})
    return client
