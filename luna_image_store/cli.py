"""The command `luna-image-store`."""

import json
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from luna_image_store import __version__
from luna_image_store.commands.drain.command import drain
from luna_image_store.commands.export.command import export
from luna_image_store.commands.import_.command import import_
from luna_image_store.commands.migrate.command import migrate
from luna_image_store.commands.options import CONFIG_OPTION
from luna_image_store.commands.stats.command import stats
from luna_image_store.commands.verify.command import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="luna-image-store")
def main() -> None:
    """Store images and objects in buckets, and serve them by HTTP.

    Settings are read from a TOML file. Environment variables LUNA_IMAGE_STORE__SECTION__KEY override it.
    """


@main.command()
@CONFIG_OPTION
@click.option("--check", is_flag=True, help="Check the settings and the storage, and exit; with an error if they are invalid.")
def serve(path: str | None, check: bool) -> None:
    """Serve requests until stopped. SIGHUP reloads the settings, SIGTERM stops after running requests."""
    from luna_image_store.server.application import check_start, run

    if check:
        check_start(path)
        click.echo("OK")
    else:
        run(path)


@main.command()
@click.option("--check", is_flag=True, help="Check the settings only, and print OK or the error. The storage is not opened.")
@click.option("--show", is_flag=True, help="Print each setting on a line, with the source of its value.")
@CONFIG_OPTION
def config(check: bool, show: bool, path: str | None) -> None:
    """Print the settings in effect as JSON, with masked secrets.

    Exit codes: 0 the settings are valid. 2 the settings are invalid; stderr has the error.
    """
    from luna_image_store.imaging.pillow import pillow_problem
    from luna_image_store.settings import SettingsError, load, masked, origins

    try:
        settings = load(path)
    except SettingsError as ex:
        _exit_with_error(str(ex))
    if check and (problem := pillow_problem(settings.images.allow_plain_pillow)):
        _exit_with_error(problem)
    if show:
        click.echo(_with_origins(masked(settings), origins(path)))
    elif not check:
        click.echo(json.dumps(masked(settings), indent=2))
    if check:
        click.echo("OK")


def _exit_with_error(message: str) -> NoReturn:
    click.echo(f"luna-image-store: {message}", err=True)
    sys.exit(2)


def _with_origins(settings: Mapping[str, Mapping[str, Any]], origins: Mapping[tuple[str, str], str]) -> str:
    values = ((name, key, value) for name, section in settings.items() for key, value in section.items())
    return "\n".join(f"{name}.{key} = {json.dumps(value)} ({origins.get((name, key), 'default')})" for name, key, value in values)


@main.command()
def openapi() -> None:
    """Print the OpenAPI document as YAML."""
    from luna_image_store.http.openapi import to_yaml
    from luna_image_store.http.routes import ROUTES

    click.echo(to_yaml(ROUTES), nl=False)


for command in (drain, verify, stats, migrate, import_, export):
    main.add_command(command)
