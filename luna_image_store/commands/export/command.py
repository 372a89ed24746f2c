"""The command `export` and its options."""

import click

from luna_image_store.commands.options import CONFIG_OPTION, JSON_OPTION, PARALLEL_OPTION, PER_CORE
from luna_image_store.concurrency import cores


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False))
@click.option("--bucket", required=True, metavar="BUCKET", help="The bucket to export.")
@click.option("--previews", is_flag=True, help="Write the stored previews too.")
@CONFIG_OPTION
@PARALLEL_OPTION
@JSON_OPTION
def export(folder: str, bucket: str, previews: bool, path: str | None, parallel: int | None, as_json: bool) -> None:
    """Write all images and objects of a bucket to files below DIR. Write a list of them to index.jsonl.

    Files that are up to date are skipped, so you can interrupt the command and run it again. It deletes nothing from DIR.

    Exit codes: 0 all records are written. 1 a record is damaged or failed. 2 the arguments or settings are invalid.
    130 interrupted.
    """
    from luna_image_store.commands import exit_codes
    from luna_image_store.commands.export.job import Export
    from luna_image_store.commands.report import Report
    from luna_image_store.settings import load

    def run() -> bool:
        return Export(load(path), folder, bucket, previews, parallel or PER_CORE * cores()).run(Report(as_json))

    exit_codes.run(run)
