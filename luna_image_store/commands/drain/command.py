"""The command `drain` and its options."""

import click

from luna_image_store.commands.options import CONFIG_OPTION


@click.command()
@click.option("--seconds", type=click.FloatRange(0, 86_400), metavar="N", help="Seconds to wait.  [default: HTTP.DRAIN_TIME]")
@click.option("--cancel", is_flag=True, help="Make the service ready again, and do not wait.")
@CONFIG_OPTION
def drain(seconds: float | None, cancel: bool, path: str | None) -> None:
    """Make `/readyz` answer 503, and wait, so that load balancers send no more requests. The service still serves requests.

    Use it in `ExecStop=` of systemd or `preStop` of Kubernetes, which stop the service afterwards.

    Exit codes: 0 done. 2 the settings are invalid, or HTTP.DRAIN_FILE cannot be written. 130 interrupted.
    """
    from luna_image_store.commands import exit_codes
    from luna_image_store.commands.drain.job import run

    exit_codes.run(lambda: run(path, seconds, cancel))
