"""The command `stats` and its options."""

import click

from luna_image_store.commands.options import BUCKETS_OPTION, CONFIG_OPTION, JSON_OPTION


@click.command()
@BUCKETS_OPTION
@JSON_OPTION
@CONFIG_OPTION
def stats(buckets: tuple[str, ...], as_json: bool, path: str | None) -> None:
    """Count records and bytes, and print the sizes of records, by bucket and kind.

    The command lists the records. It reads only the indexes of a random sample of records.

    Exit codes: 0 all records are counted. 1 the storage failed. 2 the arguments or settings are invalid. 130 interrupted.
    """
    from luna_image_store.commands import exit_codes
    from luna_image_store.commands.report import Report
    from luna_image_store.commands.stats.job import run

    exit_codes.run(lambda: run(path, buckets, Report(as_json)))
