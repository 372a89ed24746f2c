"""The bar that shows how far a tool is."""

from collections.abc import Iterable
from contextlib import suppress
from threading import Thread
from typing import Never, TypeAlias

from tqdm import tqdm

from luna_image_store.errors import ServiceError

Bar: TypeAlias = "tqdm[Never]"  # `update(n)` counts


def shown(doing: str, total: int | None = None, unit: str = "records", quiet: bool = False) -> Bar:
    """Show count, rate and estimate on standard error, if that is a terminal."""
    disable = True if quiet else None
    return tqdm(desc=doing, total=total, unit=f" {unit}", disable=disable, miniters=1, mininterval=0.5, smoothing=0.1)


def find_total(bar: Bar, items: Iterable[object]) -> None:
    """Count all items in the background, for the estimate; where nobody sees the bar they are not counted."""
    if not bar.disable:
        Thread(target=_count, args=(bar, items), daemon=True).start()


def _count(bar: Bar, items: Iterable[object]) -> None:
    with suppress(ServiceError, OSError):  # without the total there is no estimate, and nothing else is lost
        bar.total = sum(1 for _ in items)
