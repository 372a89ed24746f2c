"""What balancers and supervisors are told."""

import shutil

from luna_image_store.app import create_app
from luna_image_store.settings import load
from tests.api.backends import ON_DISK
from tests.api.client import Client, error


def test_a_service_whose_storage_answers_is_healthy(client):
    answer = client.simulate_get("/healthcheck")
    assert (answer.status_code, list(answer.json)) == (200, ["execution_time"])
    assert 0 < answer.json["execution_time"] < 10


@ON_DISK
def test_a_service_whose_storage_is_gone_is_not_healthy(client, root):
    shutil.rmtree(root)
    answer = client.simulate_get("/healthcheck")
    assert answer.status_code == 502
    assert answer.json == {
        "error_code": 13905,
        "desc": "Storage is unavailable",
        "detail": "health check",
        "components": [{"name": "storage", "detail": "health check"}],
    }


@ON_DISK
def test_a_service_whose_storage_is_gone_is_alive_but_not_ready(client, root):
    shutil.rmtree(root)
    assert client.simulate_get("/livez").json == {"status": "alive"}
    answer = client.simulate_get("/readyz")
    assert error(answer) == (503, 13910)
    assert answer.json["detail"] == "storage: Storage is unavailable"
    assert answer.headers["retry-after"] == "5"


def test_a_service_that_drains_is_not_ready(storage, tmp_path):
    file = tmp_path / "draining"
    client = Client(create_app(load(environ={"LUNA_IMAGE_STORE__HTTP__DRAIN_FILE": str(file)}), storage))
    assert client.simulate_get("/readyz").json == {"status": "ready"}
    file.touch()
    answer = client.simulate_get("/readyz")
    assert error(answer) == (503, 13910)
    assert answer.json["detail"] == "the service is draining"
    assert int(answer.headers["retry-after"]) > 0
    assert client.simulate_get("/livez").status_code == 200
