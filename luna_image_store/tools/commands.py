"""The commands of the tools."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

from luna_image_store.concurrency import cores
from luna_image_store.storage.base import is_id

Command = TypeVar("Command", bound=Callable[..., Any])
RATE = 500  # records per second: an eighth of a core without --deep, so that the service keeps the rest
PER_CORE, IMPORTS_PER_CORE = 8, 4  # at the same time: records wait most of the time, pictures are rendered too

CONFIG_OPTION = click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Settings file in TOML; without it the one that LUNA_IMAGE_STORE_CONFIG names.",
)
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Tell everything as JSON, an object per line, and show no bar.")
BUCKETS_OPTION = click.option("--bucket", "buckets", multiple=True, metavar="BUCKET", help="Only this bucket; may be given again.")
PARALLEL_OPTION = click.option(
    "--parallel", type=click.IntRange(1), metavar="N", help=f"Records at the same time.  [default: {PER_CORE} per core]"
)


def _time(context: click.Context, parameter: click.Parameter, text: str | None) -> float:
    """Read a time with or without a zone; without one it is the local time."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else 0
    except ValueError as ex:
        raise click.BadParameter(f"{text!r} is no time such as 2026-11-24 or 2026-11-24T03:15:00+01:00") from ex


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@BUCKETS_OPTION
@click.option("--since", callback=_time, metavar="TIME", help="Only records that were saved at this time or later.")
@click.option("--delete", is_flag=True, help="Also delete at DST, in these buckets, each record that SRC does not have.")
@click.option("--dry-run", is_flag=True, help="Compare, tell what would be done, and do nothing.")
@click.option(
    "--read-back/--no-read-back",
    default=True,
    help="Read what was written whole and check its sums, or look at its index only.  [default: read back]",
)
@PARALLEL_OPTION
@JSON_OPTION
def migrate(
    source: str,
    destination: str,
    buckets: tuple[str, ...],
    since: float,
    delete: bool,
    dry_run: bool,
    read_back: bool,
    parallel: int | None,
    as_json: bool,
) -> None:
    """Move all records from storage SRC to storage DST, byte for byte.

    SRC and DST are settings files, or disk:PATH. In place of the environment variables of a service they have
    LUNA_IMAGE_STORE_SRC__SECTION__KEY and LUNA_IMAGE_STORE_DST__SECTION__KEY, for secrets for example.

    What is there already is passed over. So it may be interrupted, and is run again to go on, or to move what has
    changed since. SRC stays as it is.

    Exit codes: 0 all is there. 1 something is damaged or failed, and was told. 2 the arguments or settings won't do.
    130 interrupted.
    """
    from luna_image_store.tools import exits, places
    from luna_image_store.tools.migrate import Migration
    from luna_image_store.tools.moving import Options
    from luna_image_store.tools.report import Report

    def run() -> bool:
        options = Options(since, delete, dry_run, read_back)
        sides = places.settings_of("SRC", source), places.settings_of("DST", destination)
        return Migration(*sides, buckets, options, parallel or PER_CORE * cores()).run(Report(as_json))

    exits.run(run)


@click.command()
@BUCKETS_OPTION
@click.option(
    "--deep", is_flag=True, help="Also decode each picture and preview, and look whether objects are what their type says."
)
@click.option("--repair", is_flag=True, help="Make damaged previews anew from their pictures. All else is left as it is.")
@click.option(
    "--rate",
    type=click.FloatRange(0),
    default=RATE,
    show_default=True,
    metavar="N",
    help="Read at most N records per second; 0: as fast as it goes.",
)
@click.option(
    "--leftover-age",
    type=click.FloatRange(0),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="Take what lies in .tmp, in .trash or in an upload for a leftover when it is older than this; 0: all.",
)
@JSON_OPTION
@CONFIG_OPTION
def verify(
    buckets: tuple[str, ...], deep: bool, repair: bool, rate: float, leftover_age: float, as_json: bool, path: str | None
) -> None:
    """Read every record, and tell of each that is damaged, of strays and of leftovers.

    It may run beside the service, be interrupted, and be run again.

    Exit codes: 0 all records are good, or are again after --repair. 1 something is damaged or could not be read, and was
    told. 2 the arguments or settings won't do. 130 interrupted.
    """
    from luna_image_store.tools import exits
    from luna_image_store.tools.report import Report
    from luna_image_store.tools.verify import Options, run

    exits.run(lambda: run(path, buckets, Options(deep, repair, rate, leftover_age), Report(as_json)))


@click.command()
@BUCKETS_OPTION
@JSON_OPTION
@CONFIG_OPTION
def stats(buckets: tuple[str, ...], as_json: bool, path: str | None) -> None:
    """Count records and bytes, and tell how large records are, by bucket and kind.

    No record is read, but for the indexes of a sample of the pictures.

    Exit codes: 0 all was counted. 1 the storage failed. 2 the arguments or settings won't do. 130 interrupted.
    """
    from luna_image_store.tools import exits
    from luna_image_store.tools.report import Report
    from luna_image_store.tools.stats import run

    exits.run(lambda: run(path, buckets, Report(as_json)))


def _account(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    if text is None or is_id(text):
        return text
    raise click.BadParameter(f"{text!r} is not a UUID in lower case")


@click.command("import")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--bucket", required=True, metavar="BUCKET", help="The bucket that takes the pictures.")
@click.option("--create-bucket", is_flag=True, help="Make the bucket where it is missing.")
@click.option("--account-id", callback=_account, metavar="UUID", help="The account that owns the pictures.  [default: none]")
@click.option("--csv", "table", type=click.Path(dir_okay=False), metavar="FILE", help="The table.  [default: import-BUCKET.csv]")
@CONFIG_OPTION
@click.option("--parallel", type=click.IntRange(1), metavar="N", help=f"Pictures at once.  [default: {IMPORTS_PER_CORE} per core]")
@JSON_OPTION
def import_(
    folder: str,
    bucket: str,
    create_bucket: bool,
    account_id: str | None,
    table: str | None,
    path: str | None,
    parallel: int | None,
    as_json: bool,
) -> None:
    """Store all pictures below DIR in a bucket, and write a CSV of file and id.

    Each file is taken as by a PUT: converted, with previews, within the limits of the settings. What can't be taken has a row
    too, with the error. With a CSV that is there already it goes on where that ends, and tries again what failed.

    Exit codes: 0 all files are taken. 1 some are not. 2 the arguments or settings won't do. 130 interrupted.
    """
    from luna_image_store.settings import load
    from luna_image_store.tools import exits
    from luna_image_store.tools.importing import Import
    from luna_image_store.tools.report import Report

    def run() -> bool:
        at_once = parallel or IMPORTS_PER_CORE * cores()
        work = Import(load(path), folder, bucket, account_id, create_bucket, table or f"import-{bucket}.csv", at_once)
        return work.run(Report(as_json))

    exits.run(run)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False))
@click.option("--bucket", required=True, metavar="BUCKET", help="The bucket whose pictures and objects are written.")
@click.option("--previews", is_flag=True, help="Write the stored previews too.")
@CONFIG_OPTION
@PARALLEL_OPTION
@JSON_OPTION
def export(folder: str, bucket: str, previews: bool, path: str | None, parallel: int | None, as_json: bool) -> None:
    """Write all pictures and objects of a bucket to files below DIR, with an index of them, index.jsonl.

    What is there already is not written again. So it may be interrupted and run again. Nothing is removed from DIR.

    Exit codes: 0 all is written. 1 something is damaged or failed. 2 the arguments or settings won't do. 130 interrupted.
    """
    from luna_image_store.settings import load
    from luna_image_store.tools import exits
    from luna_image_store.tools.exporting import Export
    from luna_image_store.tools.report import Report

    def run() -> bool:
        return Export(load(path), folder, bucket, previews, parallel or PER_CORE * cores()).run(Report(as_json))

    exits.run(run)
