"""The command `migrate` and its options."""

from datetime import datetime

import click

from luna_image_store.commands.options import BUCKETS_OPTION, JSON_OPTION, PARALLEL_OPTION, PER_CORE
from luna_image_store.concurrency import cores


def _time(context: click.Context, parameter: click.Parameter, text: str | None) -> float:
    """Parse a time. Without a time zone it is local time."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else 0
    except ValueError as ex:
        raise click.BadParameter(f"{text!r} is not a time such as 2026-11-24 or 2026-11-24T03:15:00+01:00") from ex


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@BUCKETS_OPTION
@click.option("--since", callback=_time, metavar="TIME", help="Copy only records that were saved at this time or later.")
@click.option("--delete", is_flag=True, help="Delete records at DST, in the copied buckets, that SRC does not have.")
@click.option("--dry-run", is_flag=True, help="Compare and report what would be copied or deleted, but change nothing.")
@click.option(
    "--read-back/--no-read-back",
    default=True,
    help="Read each copied record back completely and check its checksums, or read its index only.  [default: read back]",
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
    """Copy all records from storage SRC to storage DST, byte for byte. SRC is not changed.

    SRC and DST are settings files, or disk:PATH. The environment variables LUNA_IMAGE_STORE_SRC__SECTION__KEY and
    LUNA_IMAGE_STORE_DST__SECTION__KEY override their settings, for example
    for secrets. The variables LUNA_IMAGE_STORE__SECTION__KEY have no effect.

    Records that DST has already are skipped. Run the command again to continue after an interruption, or to copy records that
    have changed since.

    Exit codes: 0 all records are copied. 1 a record is damaged or failed, and was reported. 2 the arguments or settings are
    invalid. 130 interrupted.
    """
    from luna_image_store.commands import exit_codes, targets
    from luna_image_store.commands.migrate.copier import MigrateOptions
    from luna_image_store.commands.migrate.job import Migration
    from luna_image_store.commands.report import Report

    def run() -> bool:
        options = MigrateOptions(since, delete, dry_run, read_back)
        sides = targets.load_target("SRC", source), targets.load_target("DST", destination)
        return Migration(*sides, buckets, options, parallel or PER_CORE * cores()).run(Report(as_json))

    exit_codes.run(run)
