"""The metrics and their labels, in one process. tests/system tests metrics that workers share."""

import re
import shutil
import subprocess
import sys

import pytest

from luna_image_store import setting_fields
from luna_image_store.monitoring import metric_definitions
from luna_image_store.monitoring.instrumented import OPERATIONS
from luna_image_store.monitoring.prometheus import LabeledMetrics, SharedFiles
from luna_image_store.storage.base import Storage
from tests.api.client import IMAGE_URL, IMAGES, JPEG, OBJECTS, TEXT
from tests.system.service import REPOSITORY

UNKNOWN = {'path="unknown",status_code="404"', 'path="unknown",status_code="405"'}


def test_the_page_does_not_exist_if_metrics_are_disabled(make_client):
    client = make_client(LUNA_SERVICE_METRICS__ENABLED="false")
    assert client.simulate_get("/metrics").json["error_code"] == 12013


def test_requests_are_counted_by_status_and_route_without_version(client):
    client.put_image()
    client.simulate_get(IMAGE_URL)
    client.simulate_get(IMAGE_URL)
    client.simulate_get("/version")
    expected = {
        'path="POST:/buckets",status_code="201"': 1,
        'path="PUT:/buckets/{bucket}/images/{image_id}",status_code="200"': 1,
        'path="GET:/buckets/{bucket}/images/{image_id}",status_code="200"': 2,
        'path="GET:/version",status_code="200"': 1,
    }
    assert client.series("request_count_total") == client.series("requests_count") == expected


def test_errors_are_counted_by_code(client):
    client.simulate_get(IMAGE_URL)
    client.simulate_head(IMAGE_URL)
    client.simulate_post(IMAGES, body=b"no image")
    client.simulate_get("/1/buckets/no-such/images")
    assert client.series("errors_count_total") == {
        'error_code="13003",path="GET:/buckets/{bucket}/images/{image_id}"': 1,
        'error_code="13003",path="HEAD:/buckets/{bucket}/images/{image_id}"': 1,
        'error_code="18002",path="POST:/buckets/{bucket}/images"': 1,
        'error_code="12021",path="unknown"': 1,
    }


def test_unknown_paths_and_methods_create_no_new_series(client):
    for number in range(3):
        client.simulate_get(f"/nothing-{number}")
        client.simulate_request(path="/1/buckets", method="PATCH")
        client.simulate_request(path=f"/nothing-{number}", method="OPTIONS")
    assert client.series("request_count_total").keys() - {'path="POST:/buckets",status_code="201"'} == UNKNOWN


def test_requests_for_the_metrics_are_not_counted(client):
    before = client.simulate_get("/metrics").text
    assert client.simulate_get("/metrics").text == before
    assert client.series("luna_image_store_requests_in_flight") == {"": 0}


def test_bytes_of_all_request_and_response_bodies_are_counted(client):
    client.put_image()
    client.simulate_get(IMAGE_URL)
    client.simulate_head(IMAGE_URL)
    client.simulate_post(IMAGES, body=b"no image")
    chunked = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
    client.simulate_post(OBJECTS, body=b"text" * 100, headers=TEXT, extras=chunked)
    received = client.series("luna_image_store_received_bytes_total")
    assert received['path="PUT:/buckets/{bucket}/images/{image_id}"'] == len(JPEG)
    assert received['path="POST:/buckets/{bucket}/images"'] == len(b"no image")
    assert received['path="POST:/buckets/{bucket}/objects"'] == 400
    sent = client.series("luna_image_store_sent_bytes_total")
    assert sent['path="GET:/buckets/{bucket}/images/{image_id}"'] == len(JPEG)
    assert sent['path="HEAD:/buckets/{bucket}/images/{image_id}"'] == 0


def test_rendering_is_timed(client):
    client.put_image()
    client.simulate_get(f"{IMAGE_URL}_160")
    client.simulate_get(f"{IMAGE_URL}_50")
    assert client.series("luna_image_store_codec_seconds_count") == {'operation="render"': 1, 'operation="preview"': 1}
    assert all(seconds > 0 for seconds in client.series("luna_image_store_codec_seconds_sum").values())


def test_failures_of_the_storage_are_counted_but_missing_records_are_not(client, root):
    client.simulate_get(IMAGE_URL)
    assert not any(client.series("luna_image_store_storage_errors_total").values())
    shutil.rmtree(root)
    root.write_bytes(b"")
    client.simulate_post(IMAGES, body=JPEG)
    failed = {labels for labels, number in client.series("luna_image_store_storage_errors_total").items() if number}
    assert failed == {'backend="disk",error_code="13905",operation="put"'}
    assert client.series("luna_image_store_storage_seconds_count")['backend="disk",operation="put"'] == 1


def test_each_operation_of_a_storage_except_list_keys_is_measured():
    assert {*OPERATIONS, "list_keys"} == {name for name in vars(Storage) if not name.startswith("_")}


def test_the_settings_reserve_the_labels_of_the_metrics():
    assert {"le", *(label for metric in metric_definitions.ALL for label in metric.labels)} == setting_fields.OWN_LABELS


def test_extra_labels_are_on_every_series(make_client):
    client = make_client(LUNA_SERVICE_METRICS__EXTRA_LABELS='{site = "north", rack = "7"}')
    client.simulate_get("/version")
    page = client.simulate_get("/metrics").text
    samples = [line for line in page.splitlines() if not line.startswith("#")]
    assert samples
    assert all('rack="7"' in line and 'site="north"' in line for line in samples)


def test_the_page_has_each_metric_with_its_type_and_help(client):
    client.simulate_get("/no-such")
    page = client.simulate_get("/metrics").text
    for metric in metric_definitions.ALL:
        assert f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind}\n" in page
    assert set(re.findall("(?m)^# TYPE (\\S+)", page)) == {metric.name for metric in metric_definitions.ALL}


def test_the_histogram_of_requests_has_the_specified_buckets(client):
    bounds = re.findall('requests_bucket{le="([^"]+)",path="POST:/buckets"', client.simulate_get("/metrics").text)
    expected = "0.0001 0.00025 0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.075 0.1 0.25 0.5 0.75 1.0 2.5 5.0 7.5 10.0 +Inf"
    assert bounds == expected.split()


@pytest.mark.parametrize("metric", metric_definitions.ALL, ids=lambda metric: metric.name)
def test_names_follow_the_conventions_of_prometheus(metric):
    assert re.fullmatch("[a-z_]+", metric.name)
    assert metric.help.endswith(".")
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert metric.kind != "histogram" or metric.name in ("requests", *re.findall(".*_seconds", metric.name))


def test_empty_and_missing_files_are_skipped(tmp_path):
    (tmp_path / "counter_0.db").touch()
    (tmp_path / "gauge_livesum_0.db").symlink_to("gone")
    assert list(LabeledMetrics(SharedFiles(tmp_path), {}).collect()) == []


def test_monitoring_libraries_are_not_imported_unless_enabled():
    code = "import sys, luna_image_store.server; print([name for name in sys.modules if name.split('.')[0] in sys.argv])"
    libraries = ("prometheus_client", "influxdb_client", "opentelemetry")
    loaded = subprocess.run((sys.executable, "-c", code, *libraries), cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"
