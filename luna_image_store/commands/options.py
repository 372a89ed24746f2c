"""Options that several commands have."""

import click

PER_CORE = 8  # records at the same time; most of the time they wait for disk or S3

CONFIG_OPTION = click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Settings file in TOML.  [default: the file that LUNA_IMAGE_STORE_CONFIG names]",
)
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line, and no progress bar.")
BUCKETS_OPTION = click.option(
    "--bucket", "buckets", multiple=True, metavar="BUCKET", help="Process only this bucket; can be given several times."
)
PARALLEL_OPTION = click.option(
    "--parallel", type=click.IntRange(1), metavar="N", help=f"Records to process at the same time.  [default: {PER_CORE} per core]"
)
