import pytest

from luna_image_store.app import create_app
from luna_image_store.settings import load
from luna_image_store.storage.disk.backend import DiskStorage
from tests.api import backends
from tests.api.client import IMAGE_ID, Client
from tests.moto_server import StoredObject


@pytest.fixture(params=backends.ALL)
def backend(request):
    return request.param


@pytest.fixture
def storage(backend, root, request):
    if backend == "disk":
        return DiskStorage(str(root))
    request.getfixturevalue("s3")
    return request.getfixturevalue("storage_on_moto")


@pytest.fixture
def record(backend, request):
    """Return the path or the S3 object of the image IMAGE_ID, to read and damage its record."""
    if backend == "disk":
        return request.getfixturevalue("root") / "photos/images" / IMAGE_ID[:2] / f"{IMAGE_ID}.jpg"
    return StoredObject(request.getfixturevalue("s3").boto, "photos", f"images/{IMAGE_ID}.jpg")


@pytest.fixture
def make_client(storage):
    """Return a function that creates a client. Its keyword arguments are settings such as IMAGES__MAX_SIZE."""

    def make(**settings):
        environ = {f"LUNA_IMAGE_STORE__{name}": str(value) for name, value in settings.items()}
        return Client(create_app(load(environ=environ), storage))

    return make


@pytest.fixture
def client(make_client):
    client = make_client()
    client.simulate_post("/1/buckets", params={"bucket": "photos"})
    return client
