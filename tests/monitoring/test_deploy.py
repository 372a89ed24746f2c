"""The files for Prometheus and Grafana are valid, and use only metrics and labels that exist."""

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
EXTERNAL = {"up", *(f"node_filesystem_{name}" for name in ("avail_bytes", "size_bytes", "files_free", "files"))}
OPERATORS = {"and", "or", "unless", "by", "without", "on", "ignoring"}


def metrics_in(expression):
    """Return the metrics in an expression: its words without labels, ranges, groupings and functions."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"{[^}]*}|\[[^]]*]|\b(by|without|on|ignoring)\s*\([^)]*\)", "", bare)
    return set(re.findall(r"[a-z_]\w*\b(?!\s*\()", bare)) - OPERATORS


def labels_in(expression):
    """Yield each metric of an expression with the labels that its selector uses."""
    for name, selectors in re.findall(r"([a-z_]\w*){([^}]*)}", re.sub(r'"[^"]*"', '""', expression)):
        yield name, set(re.findall(r"(\w+)\s*[=!]", selectors))


def exposed(metric):
    """Return the series of a metric on the page, with their labels."""
    if metric.kind != "histogram":
        return {metric.name: {*metric.labels}}
    return {f"{metric.name}_{part}": {*metric.labels, "le"} for part in ("bucket", "sum", "count")}


SERIES = {name: labels for metric in metric_definitions.ALL for name, labels in exposed(metric).items()}


def promtool(*arguments):
    done = subprocess.run((tool("promtool"), *arguments), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_and_the_alerts_are_valid():
    promtool("check", "config", PROMETHEUS / "prometheus.yml")
    promtool("check", "rules", PROMETHEUS / "alerts.yml")


def test_each_alert_fires_and_no_alert_fires_for_a_healthy_service(tmp_path):
    tests = Path(__file__).with_name("alerts.test.yml").read_text()
    assert all(alert["alert"] in tests for alert in ALERTS)
    path = tmp_path / "tests.yml"
    path.write_text(tests.replace("RULES]", f"{PROMETHEUS}/alerts.yml]"))
    promtool("test", "rules", path)


def test_the_queries_of_the_dashboard_are_valid(tmp_path):
    rules = [{"record": f"query:{number}", "expr": without_variables(query)} for number, query in enumerate(QUERIES)]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", path)


def without_variables(query):
    """Replace Grafana's variables by values."""
    return query.replace("$__rate_interval", "5m").replace("$job", "luna-image-store").replace("$instance", ".*")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_queries_and_alerts_use_only_existing_metrics_and_labels(expression):
    metrics = metrics_in(expression)
    assert metrics
    assert metrics <= SERIES.keys() | EXTERNAL
    for name, labels in labels_in(expression):
        assert name in EXTERNAL or labels <= SERIES[name] | {"job", "instance"}


def test_each_metric_is_on_the_dashboard():
    queried = set().union(*map(metrics_in, QUERIES))
    assert all(queried & exposed(metric).keys() for metric in metric_definitions.ALL)


def test_the_panels_of_the_dashboard_have_unique_ids_and_do_not_overlap():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    used = [cell for panel in DASHBOARD["panels"] for cell in cells(**panel["gridPos"])]
    assert len(used) == len(set(used))
    assert all(column < 24 for column, _ in used)


def cells(x, y, w, h):
    return [(column, line) for column in range(x, x + w) for line in range(y, y + h)]


def test_the_manual_explains_each_alert():
    manual = (ROOT / "docs/monitoring.md").read_text()
    for alert in ALERTS:
        assert f"### {alert['alert']}\n" in manual
        assert {"summary", "description"} == alert["annotations"].keys()
