"""The container image and the compose example use existing files, and match the settings and the nginx site."""

import fnmatch
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from luna_image_store.settings import PREFIX, load

PROJECT = Path(__file__).parents[1]
FOLDER = PROJECT / "deploy" / "container"
LINES = re.sub(r"\\\n", "", (FOLDER / "Containerfile").read_text("utf-8")).splitlines()
STEPS = [(word, rest) for word, _, rest in (line.partition(" ") for line in LINES if line and not line.startswith("#"))]
BUILT = {"dist/*.whl"}  # `make dist` creates it
SOCKET = "unix:/run/luna-image-store/http.sock"


def steps(word: str) -> list[str]:
    return [rest for step, rest in STEPS if step == word]


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))


def copied() -> set[str]:
    """Return the source paths that the Containerfile copies."""
    return {name for rest in steps("COPY") if not rest.startswith("--from") for name in rest.split()[:-1]}


def test_both_stages_have_the_same_base_and_the_last_has_no_compiler() -> None:
    build, final = steps("FROM")
    assert build == f"{final} AS build"
    last = STEPS[-STEPS[::-1].index(("FROM", final)) :]
    assert not any("gcc" in rest or "-dev" in rest for _, rest in last)


def test_copied_files_exist_and_are_not_ignored() -> None:
    assert all((PROJECT / name).is_file() for name in copied() - BUILT)
    first, *others = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert first == "*"
    assert {line.removeprefix("!") for line in others} == copied()


def test_the_user_is_not_root() -> None:
    (user,) = steps("USER")
    assert re.fullmatch("[1-9][0-9]*:[1-9][0-9]*", user)
    (created,) = [rest for rest in steps("RUN") if "install --directory" in rest]
    assert f"--owner={user.split(':')[0]} --group={user.split(':')[1]}" in created


def test_its_settings_match_its_volume_and_port() -> None:
    settings = load(str(FOLDER / "settings.toml"), {})
    assert [settings.local_storage.path] == steps("VOLUME") == steps("WORKDIR")[-1:]
    assert settings.http.bind.endswith(f":{steps('EXPOSE')[0]}")


def test_its_commands_are_lists_of_arguments() -> None:
    (health,) = steps("HEALTHCHECK")
    for words in (*steps("ENTRYPOINT"), *steps("CMD"), health.partition(" CMD ")[2]):
        assert all(isinstance(word, str) for word in json.loads(words))
    assert (FOLDER / json.loads(health.partition(" CMD ")[2])[-1].rpartition("/")[2]).is_file()


def test_the_example_uses_existing_files_volumes_and_services(compose: Any) -> None:
    volumes = [volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", ())]
    assert {name for name in volumes if not name.startswith(".")} == compose["volumes"].keys()
    assert all((FOLDER / name).is_file() for name in volumes if name.startswith("."))
    build = compose["services"]["store"]["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).samefile(FOLDER / "Containerfile")
    assert all(other in compose["services"] for service in compose["services"].values() for other in service.get("depends_on", ()))


def test_the_example_uses_existing_settings(compose: Any) -> None:
    environment = compose["services"]["store"]["environment"]
    assert all(fnmatch.fnmatch(name, f"{PREFIX}*") for name in environment)
    assert load(str(FOLDER / "settings.toml"), environment).http.bind == SOCKET
    assert SOCKET in (PROJECT / "deploy/nginx/luna-image-store.conf").read_text()


def test_image_names_have_no_registry(compose: Any) -> None:
    images = [name.split()[0] for name in steps("FROM")] + [service.get("image", "") for service in compose["services"].values()]
    assert not any("." in name.partition("/")[0] and "/" in name for name in images)
