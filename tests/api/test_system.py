import json

import pytest
import yaml

from luna_image_store.app import create_app
from luna_image_store.settings import SECTIONS, SettingsError, load
from luna_image_store.storage.factory import create_storage
from tests.api.client import Client, error

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def test_version_is_returned(client):
    response = client.simulate_get("/version")
    assert (response.status_code, response.json) == (200, {"Version": {"api": 1, "major": 3, "minor": 8, "patch": 4}})
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/*", "text/plain;q=0.5, application/json"])
def test_settings_are_returned_as_json(make_client, accept):
    client = make_client(IMAGES__MAX_SIZE=1234, S3__SECRET_ACCESS_KEY="key", INFLUX_MONITORING__TOKEN="token")
    response = client.simulate_get("/config", headers={"Accept": accept} if accept else {})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json["IMAGES"]["MAX_SIZE"] == 1234
    assert response.json["S3"]["SECRET_ACCESS_KEY"] == response.json["INFLUX_MONITORING"]["TOKEN"] == "***"
    assert response.json.keys() == SECTIONS.keys()


@pytest.mark.parametrize("accept", ["text/plain", "text/*", "application/json;q=0.5, text/plain", "Text/Plain"])
def test_settings_are_returned_as_text(make_client, accept):
    response = make_client(S3__SECRET_ACCESS_KEY="key").simulate_get("/config", headers={"Accept": accept})
    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    lines = response.text.splitlines()
    assert "OBJECTS.MAX_SIZE = 1073741824" in lines
    assert "S3.SECRET_ACCESS_KEY = ***" in lines


@pytest.mark.parametrize("accept", [None, "*/*", "application/x-yaml", "application/*", "text/html;q=0.1, application/x-yaml"])
def test_openapi_document_is_yaml(client, accept):
    response = client.simulate_get("/docs/spec", headers={"Accept": accept} if accept else {})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/x-yaml")
    assert yaml.load(response.text, yaml.CSafeLoader)["openapi"].startswith("3.")


@pytest.mark.parametrize("accept", ["text/html", BROWSER])
def test_openapi_html_page_needs_no_internet_access(client, accept):
    response = client.simulate_get("/docs/spec", headers={"Accept": accept})
    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, "text/html")
    assert "://" not in response.text
    assert response.headers["content-security-policy"].startswith("default-src 'self'")
    assert client.simulate_get("/docs/spec/redoc.standalone.js").status_code == 200


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "text", "application/pdf, image/*"])
@pytest.mark.parametrize("path", ["/config", "/docs/spec"])
def test_accept_without_a_supported_type_returns_406(client, path, accept):
    response = client.simulate_get(path, headers={"Accept": accept})
    assert error(response) == (406, 12023)
    types = {"/config": "application/json, text/plain", "/docs/spec": "application/x-yaml, text/html"}[path]
    assert response.json["detail"] == f"Content type is unacceptable allowed types: '{types}'"


def test_manual_is_served(client):
    response = client.simulate_get("/docs/dev")
    assert (response.status_code, response.headers["location"], response.content) == (302, "/docs/dev/index.html", b"")
    page = client.simulate_get("/docs/dev/index.html")
    assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
    assert client.simulate_get("/docs/dev/_static/pygments.css").headers["content-type"].startswith("text/css")


@pytest.mark.parametrize(
    "name",
    ["", "missing", "_static", "_static/", "../settings.py", "%2e%2e/settings.py", "..%2fsettings.py", "%2e%2e%2fsettings.py",
     "_static/../../settings.py", "/etc/passwd", "%00", "index.html%00", "index.html%0a", ".", "..", "x" * 5000],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["/docs/dev/", "/docs/spec/"])
def test_other_paths_under_the_documents_are_not_found(client, prefix, name):
    assert error(client.simulate_get(prefix + name)) == (404, 12013)


def test_missing_manual_returns_500(storage, tmp_path):
    response = Client(create_app(load(environ={}), storage, manual=tmp_path)).simulate_get("/docs/dev")
    assert error(response) == (500, 12032)
    assert response.json["detail"] == "Document file not found"


def test_storage_is_created_from_the_settings(tmp_path):
    path = tmp_path / "storage"
    create_storage(load(environ={"LUNA_IMAGE_STORE__LOCAL_STORAGE__PATH": str(path)})).create_bucket("photos")
    assert (path / "photos").is_dir()


def test_unusable_storage_path_raises_settings_error(tmp_path):
    path = tmp_path / "file"
    path.write_text("not a directory")
    with pytest.raises(SettingsError, match=r"LOCAL_STORAGE\.PATH: cannot use .*/file: .*Not a directory"):
        create_storage(load(environ={"LUNA_IMAGE_STORE__LOCAL_STORAGE__PATH": str(path)}))


def test_settings_as_text_and_as_json_are_equal(client):
    settings = json.loads(client.simulate_get("/config").text)
    lines = client.simulate_get("/config", headers={"Accept": "text/plain"}).text.splitlines()
    assert lines == [f"{section}.{key} = {value}" for section, values in settings.items() for key, value in values.items()]
