"""What is delivered for Prometheus and Grafana: it is valid, and asks for nothing that there is not."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from luna_image_store.monitoring import metric_definitions
from tests.machine import tool

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
ALERTS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((ROOT / "deploy/grafana/luna-image-store.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
EXPRESSIONS = [*QUERIES, *(alert["expr"] for alert in ALERTS)]
FOREIGN = {"up", *(f"node_filesystem_{name}" for name in ("avail_bytes", "size_bytes", "files_free", "files"))}
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring"}


def names_in(expression):
    """List the metrics that an expression selects: what is left without labels, ranges, groupings and functions."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"{[^}]*}|\[[^]]*]|\b(by|without|on|ignoring)\s*\([^)]*\)", "", bare)
    return set(re.findall(r"[a-z_]\w*\b(?!\s*\()", bare)) - WORDS


def labels_in(expression):
    """List the labels that the selectors of an expression have, by metric."""
    for name, selectors in re.findall(r"([a-z_]\w*){([^}]*)}", re.sub(r'"[^"]*"', '""', expression)):
        yield name, set(re.findall(r"(\w+)\s*[=!]", selectors))


def shown(declared):
    """Name a series as it shows."""
    if declared.kind != "histogram":
        return {declared.name: {*declared.labels}}
    return {f"{declared.name}_{part}": {*declared.labels, "le"} for part in ("bucket", "sum", "count")}


SHOWN = {name: labels for declared in metric_definitions.ALL for name, labels in shown(declared).items()}


def promtool(*words):
    done = subprocess.run((tool("promtool"), *words), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_and_the_alerts_are_valid():
    promtool("check", "config", PROMETHEUS / "prometheus.yml")
    promtool("check", "rules", PROMETHEUS / "alerts.yml")


def test_each_alert_fires_when_it_should_and_none_when_all_is_well(tmp_path):
    tests = Path(__file__).with_name("alerts.test.yml").read_text()
    assert all(alert["alert"] in tests for alert in ALERTS)
    path = tmp_path / "tests.yml"
    path.write_text(tests.replace("RULES]", f"{PROMETHEUS}/alerts.yml]"))
    promtool("test", "rules", path)


def test_the_queries_of_the_dashboard_are_valid(tmp_path):
    rules = [{"record": f"query:{number}", "expr": plain(query)} for number, query in enumerate(QUERIES)]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", path)


def plain(query):
    """Put values in place of Grafana's variables."""
    return query.replace("$__rate_interval", "5m").replace("$job", "luna-image-store").replace("$instance", ".*")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_queries_and_alerts_know_only_metrics_and_labels_that_there_are(expression):
    names = names_in(expression)
    assert names
    assert names <= SHOWN.keys() | FOREIGN
    for name, labels in labels_in(expression):
        assert name in FOREIGN or labels <= SHOWN[name] | {"job", "instance"}


def test_every_series_is_on_the_dashboard():
    asked = set().union(*map(names_in, QUERIES))
    assert all(asked & shown(declared).keys() for declared in metric_definitions.ALL)


def test_the_panels_of_the_dashboard_have_ids_and_places_of_their_own():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken = [cell for panel in DASHBOARD["panels"] for cell in cells(**panel["gridPos"])]
    assert len(taken) == len(set(taken))
    assert all(column < 24 for column, _ in taken)


def cells(x, y, w, h):
    return [(column, line) for column in range(x, x + w) for line in range(y, y + h)]


def test_what_to_do_about_each_alert_is_in_the_manual():
    manual = (ROOT / "docs/monitoring.md").read_text()
    for alert in ALERTS:
        assert f"### {alert['alert']}\n" in manual
        assert {"summary", "description"} == alert["annotations"].keys()
