"""The command `verify` and its options."""

import click

from luna_image_store.commands.options import BUCKETS_OPTION, CONFIG_OPTION, JSON_OPTION

RATE = 500  # records per second: an eighth of a core without --deep, so that the service has the rest


@click.command()
@BUCKETS_OPTION
@click.option("--deep", is_flag=True, help="Also decode each image and preview, and check that objects match their content type.")
@click.option("--repair", is_flag=True, help="Render damaged previews again from their images. Nothing else is changed.")
@click.option(
    "--rate",
    type=click.FloatRange(0),
    default=RATE,
    show_default=True,
    metavar="N",
    help="Read at most N records per second. 0: no limit.",
)
@click.option(
    "--leftover-age",
    type=click.FloatRange(0),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="Report files in .tmp and .trash and incomplete uploads as leftovers when they are older than this. 0: all of them.",
)
@JSON_OPTION
@CONFIG_OPTION
def verify(
    buckets: tuple[str, ...], deep: bool, repair: bool, rate: float, leftover_age: float, as_json: bool, path: str | None
) -> None:
    """Read every record and report damaged records, strays (files that are not records) and leftovers.

    You can run the command while the service runs, interrupt it, and run it again.

    Exit codes: 0 all records are valid, or were repaired by --repair. 1 a record is damaged or could not be read, and was
    reported. 2 the arguments or settings are invalid. 130 interrupted.
    """
    from luna_image_store.commands import exit_codes
    from luna_image_store.commands.report import Report
    from luna_image_store.commands.verify.job import VerifyOptions, run

    exit_codes.run(lambda: run(path, buckets, VerifyOptions(deep, repair, rate, leftover_age), Report(as_json)))
