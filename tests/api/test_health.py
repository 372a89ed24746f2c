"""Responses to load balancers and supervisors: health, liveness and readiness."""

import shutil

from luna_image_store.app import create_app
from luna_image_store.settings import load
from tests.api.backends import ON_DISK
from tests.api.client import Client, error


def test_service_with_working_storage_is_healthy(client):
    response = client.simulate_get("/healthcheck")
    assert (response.status_code, list(response.json)) == (200, ["execution_time"])
    assert 0 < response.json["execution_time"] < 10


@ON_DISK
def test_service_without_storage_root_is_unhealthy(client, root):
    shutil.rmtree(root)
    response = client.simulate_get("/healthcheck")
    assert response.status_code == 502
    assert response.json == {
        "error_code": 13905,
        "desc": "Storage is unavailable",
        "detail": "health check",
        "components": [{"name": "storage", "detail": "health check"}],
    }


@ON_DISK
def test_service_without_storage_root_is_alive_but_not_ready(client, root):
    shutil.rmtree(root)
    assert client.simulate_get("/livez").json == {"status": "alive"}
    response = client.simulate_get("/readyz")
    assert error(response) == (503, 13910)
    assert response.json["detail"] == "storage: Storage is unavailable"
    assert response.headers["retry-after"] == "5"


def test_draining_service_is_not_ready(storage, tmp_path):
    file = tmp_path / "draining"
    client = Client(create_app(load(environ={"LUNA_IMAGE_STORE__HTTP__DRAIN_FILE": str(file)}), storage))
    assert client.simulate_get("/readyz").json == {"status": "ready"}
    file.touch()
    response = client.simulate_get("/readyz")
    assert error(response) == (503, 13910)
    assert response.json["detail"] == "the service is draining"
    assert int(response.headers["retry-after"]) > 0
    assert client.simulate_get("/livez").status_code == 200
