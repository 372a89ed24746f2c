"""Creates and removes the drain file."""

import time
from pathlib import Path

from luna_image_store.settings import SettingsError, load


def run(path: str | None, seconds: float | None, cancel: bool) -> bool:
    """Create the file and wait for `seconds`, or remove it. Raise SettingsError if this fails."""
    http = load(path).http
    file = Path(http.drain_file)
    try:
        if cancel:
            file.unlink(missing_ok=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    except OSError as ex:
        raise SettingsError(f"HTTP.DRAIN_FILE: {ex}") from ex
    if not cancel:
        time.sleep(http.drain_time if seconds is None else seconds)
    return True
