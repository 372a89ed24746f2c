"""The limits of the nginx site match the settings."""

import re
from pathlib import Path

import pytest

from luna_image_store.settings import load

SITE = (Path(__file__).parents[1] / "deploy" / "nginx" / "luna-image-store.conf").read_text("utf-8")
DIRECTIVES = re.sub("#.*", "", SITE)
UNITS = {"": 1, "s": 1, "k": 2**10, "m": 2**20, "g": 2**30}
SETTINGS = load(None, {})


def values(directive: str) -> set[int]:
    found = re.findall(rf"^\s*{directive} ([0-9]+)([skmg]?);", DIRECTIVES, re.MULTILINE)
    assert found, directive
    return {int(number) * UNITS[unit] for number, unit in found}


def test_body_limit_is_above_the_limits_of_the_service_and_is_documented() -> None:
    (limit,) = values("client_max_body_size")
    assert limit > max(SETTINGS.images.max_size, SETTINGS.objects.max_size)
    assert f"The limit is {limit} bytes" in SITE
    assert values("proxy_max_temp_file_size") == {limit}


@pytest.mark.parametrize("directive", ["proxy_read_timeout", "proxy_send_timeout"])
def test_the_service_times_out_before_nginx(directive: str) -> None:
    http = SETTINGS.http
    assert min(values(directive)) > http.request_timeout + 10
    assert min(values(directive)) > http.graceful_timeout


def test_uses_no_numbered_groups_and_no_rewrites() -> None:
    """A numbered group belongs to the last match anywhere, and a rewrite would decode the path."""
    assert not re.search(r"\$[0-9]|\brewrite\b", DIRECTIVES)
    assert not re.search(r"\((?!\?)", "".join(re.findall(r'"~.*?"|~ \S+', DIRECTIVES)))
    assert all(target.count("/") == 2 for target in re.findall("proxy_pass (.*);", DIRECTIVES))


def test_buffers_requests_and_responses() -> None:
    assert {"proxy_request_buffering on;", "proxy_buffering on;"} <= {line.strip() for line in DIRECTIVES.splitlines()}
