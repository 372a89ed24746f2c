"""Runs the servers of OpenStack Swift on one disk. Debian's python3 runs this file, with its package python3-swift.

The folder that is named has a file of settings per server, and `disk`. All ends when standard input does, or when one server falls.
"""

import configparser
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from swift.common.ring import RingBuilder
from swift.common.utils import set_swift_dir
from swift.common.wsgi import run_wsgi
from swift.obj.server import global_conf_callback

STORES = ("account", "container", "object")
PART_POWER, REPLICAS = 4, 1
DIES_WITH_ITS_PARENT = 1  # of prctl


class NoCache:
    """Stands where memcached would: tempauth insists on a cache. Without one, nothing is ever out of date."""

    def get(self, *_: Any, **__: Any) -> None:
        """Know nothing."""

    set = delete = get


def without_cache(*_: Any, **__: Any) -> Callable[[Any], Any]:
    """Make the filter that the proxy's settings name."""

    def around(app: Any) -> Any:
        return lambda env, start_response: app({**env, "swift.cache": NoCache()}, start_response)

    return around


def make_ring(folder: Path, store: str) -> None:
    """Say where everything of this kind lies: on the one disk, behind the one server."""
    settings = configparser.ConfigParser()
    settings.read(folder / f"{store}.conf")
    port = settings.getint("DEFAULT", "bind_port")
    here: dict[str, Any] = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    builder = RingBuilder(PART_POWER, REPLICAS, 0)
    builder.add_dev({"region": 1, "zone": 1, "device": "disk", "weight": 1, "meta": "", **here})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{store}.ring.gz"))


def serve(folder: Path, server: str) -> None:
    """Run one server in a process that doesn't outlive this one."""
    if os.fork():
        return
    ctypes.CDLL(None).prctl(DIES_WITH_ITS_PARENT, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    options = {"global_conf_callback": global_conf_callback} if server == "object" else {}
    sys.exit(run_wsgi(str(folder / f"{server}.conf"), f"{server}-server", verbose=True, **options))


def main(folder: Path) -> None:
    set_swift_dir(str(folder))
    for store in STORES:
        make_ring(folder, store)
    signal.signal(signal.SIGCHLD, lambda *_: sys.exit("a server has fallen"))
    for server in (*STORES, "proxy"):
        serve(folder, server)
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
