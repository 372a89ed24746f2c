"""Runs the servers of OpenStack Swift on one disk. Python of Debian runs this file, with the package python3-swift.

The argument is a folder with a settings file per server, and `disk`. If standard input closes or a server ends, all servers end.
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
PR_SET_PDEATHSIG = 1  # see prctl(2)


class NoCache:
    """A replacement for memcached, which tempauth requires. It stores nothing, so no data is stale."""

    def get(self, *_: Any, **__: Any) -> None:
        """Return nothing."""

    set = delete = get


def without_cache(*_: Any, **__: Any) -> Callable[[Any], Any]:
    """Return the filter for the settings of the proxy."""

    def wrap(app: Any) -> Any:
        return lambda env, start_response: app({**env, "swift.cache": NoCache()}, start_response)

    return wrap


def make_ring(folder: Path, store: str) -> None:
    """Write the ring of a store: one disk and one server."""
    settings = configparser.ConfigParser()
    settings.read(folder / f"{store}.conf")
    port = settings.getint("DEFAULT", "bind_port")
    address: dict[str, Any] = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    builder = RingBuilder(PART_POWER, REPLICAS, 0)
    builder.add_dev({"region": 1, "zone": 1, "device": "disk", "weight": 1, "meta": "", **address})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{store}.ring.gz"))


def serve(folder: Path, server: str) -> None:
    """Run one server in a child process that ends with this process."""
    if os.fork():
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    options = {"global_conf_callback": global_conf_callback} if server == "object" else {}
    sys.exit(run_wsgi(str(folder / f"{server}.conf"), f"{server}-server", verbose=True, **options))


def main(folder: Path) -> None:
    set_swift_dir(str(folder))
    for store in STORES:
        make_ring(folder, store)
    signal.signal(signal.SIGCHLD, lambda *_: sys.exit("a server has ended"))
    for server in (*STORES, "proxy"):
        serve(folder, server)
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
