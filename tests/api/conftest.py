import pytest

from luna_image_store.app import create_app
from luna_image_store.settings import load
from luna_image_store.storage.disk.backend import DiskStorage
from tests.api import backends
from tests.api.client import IMAGE, Client
from tests.moto_server import KeptObject


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
    """Give the place where the picture of the tests is kept, to look at it and to damage it."""
    if backend == "disk":
        return request.getfixturevalue("root") / "pictures/images" / IMAGE[:2] / f"{IMAGE}.jpg"
    return KeptObject(request.getfixturevalue("s3").boto, "pictures", f"images/{IMAGE}.jpg")


@pytest.fixture
def make_client(storage):
    """Make a client of an application; keyword arguments are settings such as IMAGES__MAX_SIZE."""

    def make(**settings):
        environ = {f"LUNA_IMAGE_STORE__{name}": str(value) for name, value in settings.items()}
        return Client(create_app(load(environ=environ), storage))

    return make


@pytest.fixture
def client(make_client):
    client = make_client()
    client.simulate_post("/1/buckets", params={"bucket": "pictures"})
    return client
