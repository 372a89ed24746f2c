"""Progress bar of a command."""

from collections.abc import Iterable
from contextlib import suppress
from threading import Thread
from typing import Never, TypeAlias

from tqdm import tqdm

from luna_image_store.errors import ServiceError

Bar: TypeAlias = "tqdm[Never]"  # `update(n)` counts


def progress_bar(title: str, total: int | None = None, unit: str = "records", quiet: bool = False) -> Bar:
    """Show the count, the rate and the remaining time on standard error, if it is a terminal."""
    disable = True if quiet else None
    return tqdm(desc=title, total=total, unit=f" {unit}", disable=disable, miniters=1, mininterval=0.5, smoothing=0.1)


def count_total(bar: Bar, items: Iterable[object]) -> None:
    """Count all items in the background, for the remaining time. Do nothing if the bar is not visible."""
    if not bar.disable:
        Thread(target=_count, args=(bar, items), daemon=True).start()


def _count(bar: Bar, items: Iterable[object]) -> None:
    with suppress(ServiceError, OSError):  # without the total the bar shows no remaining time
        bar.total = sum(1 for _ in items)
