import json

import pytest
import yaml

from luna_image_store.app import create_app
from luna_image_store.settings import SECTIONS, SettingsError, load
from luna_image_store.storage.factory import create_storage
from tests.api.client import Client, error

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def test_the_version_is_that_of_the_interface(client):
    answer = client.simulate_get("/version")
    assert (answer.status_code, answer.json) == (200, {"Version": {"api": 1, "major": 3, "minor": 8, "patch": 4}})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/*", "text/plain;q=0.5, application/json"])
def test_the_settings_are_shown_as_json(make_client, accept):
    client = make_client(IMAGES__MAX_SIZE=1234, S3__SECRET_ACCESS_KEY="key", INFLUX_MONITORING__TOKEN="token")
    answer = client.simulate_get("/config", headers={"Accept": accept} if accept else {})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json["IMAGES"]["MAX_SIZE"] == 1234
    assert answer.json["S3"]["SECRET_ACCESS_KEY"] == answer.json["INFLUX_MONITORING"]["TOKEN"] == "***"
    assert answer.json.keys() == SECTIONS.keys()


@pytest.mark.parametrize("accept", ["text/plain", "text/*", "application/json;q=0.5, text/plain", "Text/Plain"])
def test_the_settings_are_shown_as_text(make_client, accept):
    answer = make_client(S3__SECRET_ACCESS_KEY="key").simulate_get("/config", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    lines = answer.text.splitlines()
    assert "OBJECTS.MAX_SIZE = 1073741824" in lines
    assert "S3.SECRET_ACCESS_KEY = ***" in lines


@pytest.mark.parametrize("accept", [None, "*/*", "application/x-yaml", "application/*", "text/html;q=0.1, application/x-yaml"])
def test_the_openapi_document_is_yaml(client, accept):
    answer = client.simulate_get("/docs/spec", headers={"Accept": accept} if accept else {})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-yaml")
    assert yaml.load(answer.text, yaml.CSafeLoader)["openapi"].startswith("3.")


@pytest.mark.parametrize("accept", ["text/html", BROWSER])
def test_the_openapi_document_is_a_page_that_needs_no_internet(client, accept):
    answer = client.simulate_get("/docs/spec", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/html")
    assert "://" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    assert client.simulate_get("/docs/spec/redoc.standalone.js").status_code == 200


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "text", "application/pdf, image/*"])
@pytest.mark.parametrize("path", ["/config", "/docs/spec"])
def test_what_exists_in_no_acceptable_form_is_refused(client, path, accept):
    answer = client.simulate_get(path, headers={"Accept": accept})
    assert error(answer) == (406, 12023)
    types = {"/config": "application/json, text/plain", "/docs/spec": "application/x-yaml, text/html"}[path]
    assert answer.json["detail"] == f"Content type is unacceptable allowed types: '{types}'"


def test_the_manual_is_found(client):
    answer = client.simulate_get("/docs/dev")
    assert (answer.status_code, answer.headers["location"], answer.content) == (302, "/docs/dev/index.html", b"")
    page = client.simulate_get("/docs/dev/index.html")
    assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
    assert client.simulate_get("/docs/dev/_static/pygments.css").headers["content-type"].startswith("text/css")


@pytest.mark.parametrize(
    "name",
    ["", "missing", "_static", "_static/", "../settings.py", "%2e%2e/settings.py", "..%2fsettings.py", "%2e%2e%2fsettings.py",
     "_static/../../settings.py", "/etc/passwd", "%00", "index.html%00", "index.html%0a", ".", "..", "x" * 5000],
)  # fmt: skip
@pytest.mark.parametrize("place", ["/docs/dev/", "/docs/spec/"])
def test_there_is_nothing_else_beside_the_documents(client, place, name):
    assert error(client.simulate_get(place + name)) == (404, 12013)


def test_a_manual_that_was_not_built_is_told(storage, tmp_path):
    answer = Client(create_app(load(environ={}), storage, manual=tmp_path)).simulate_get("/docs/dev")
    assert error(answer) == (500, 12032)
    assert answer.json["detail"] == "Document file not found"


def test_the_storage_is_the_one_that_the_settings_name(tmp_path):
    path = tmp_path / "here"
    create_storage(load(environ={"LUNA_IMAGE_STORE__LOCAL_STORAGE__PATH": str(path)})).create_bucket("pictures")
    assert (path / "pictures").is_dir()


def test_a_storage_that_cannot_be_opened_stops_the_start(tmp_path):
    place = tmp_path / "file"
    place.write_text("no directory")
    with pytest.raises(SettingsError, match=r"LOCAL_STORAGE\.PATH: cannot use .*/file: .*Not a directory"):
        create_storage(load(environ={"LUNA_IMAGE_STORE__LOCAL_STORAGE__PATH": str(place)}))


def test_the_settings_in_text_and_in_json_are_the_same(client):
    shown = json.loads(client.simulate_get("/config").text)
    lines = client.simulate_get("/config", headers={"Accept": "text/plain"}).text.splitlines()
    assert lines == [f"{section}.{key} = {value}" for section, values in shown.items() for key, value in values.items()]
