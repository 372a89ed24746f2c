"""The command `import` and its options."""

import click

from luna_image_store.commands.options import CONFIG_OPTION, JSON_OPTION
from luna_image_store.concurrency import cores
from luna_image_store.storage.base import is_id

PER_CORE = 4  # images at the same time; fewer than in other commands, because rendering needs the CPU


def _account(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    if text is None or is_id(text):
        return text
    raise click.BadParameter(f"{text!r} is not a UUID in lower case")


@click.command("import")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--bucket", required=True, metavar="BUCKET", help="The bucket to store the images in.")
@click.option("--create-bucket", is_flag=True, help="Create the bucket if it does not exist.")
@click.option(
    "--account-id", callback=_account, metavar="UUID", help="The account that becomes the owner of the images.  [default: none]"
)
@click.option(
    "--csv", "table", type=click.Path(dir_okay=False), metavar="FILE", help="The result file.  [default: import-BUCKET.csv]"
)
@CONFIG_OPTION
@click.option(
    "--parallel", type=click.IntRange(1), metavar="N", help=f"Images to process at the same time.  [default: {PER_CORE} per core]"
)
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
    """Store all images below DIR in a bucket. Write the id of each file to a CSV, the result file.

    Each file is processed like a PUT: other formats are converted to JPEG, previews are rendered, and the limits of the settings
    apply. A file that fails has a row with the error. If the result file exists, files with an id are skipped, and failed files
    are tried again.

    Exit codes: 0 all files are stored. 1 a file failed. 2 the arguments or settings are invalid. 130 interrupted.
    """
    from luna_image_store.commands import exit_codes
    from luna_image_store.commands.import_.job import Import
    from luna_image_store.commands.report import Report
    from luna_image_store.settings import load

    def run() -> bool:
        result_file = table or f"import-{bucket}.csv"
        job = Import(load(path), folder, bucket, account_id, create_bucket, result_file, parallel or PER_CORE * cores())
        return job.run(Report(as_json))

    exit_codes.run(run)
