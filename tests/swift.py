"""OpenStack Swift with its S3 interface, on loopback: a real S3 server for tests and experiments.

It is the Debian package python3-swift: the code only. The other packages of Swift install system services.
"""

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3
import pytest
from botocore.config import Config

from .machine import free_port, need, wait_until

PYTHON = "/usr/bin/python3"  # of Debian: a virtual environment does not find Debian's packages
SERVER = Path(__file__).with_name("swift_server.py")
STORES = ("account", "container", "object")
PAGE = 100  # objects in a page of a listing: few, so that tests get several pages
ACCOUNTS = 1000  # more than tests
PORT = 5030  # for experiments: settings stay valid after a restart

# The timeouts are long, because a slow server must not seem to be missing.
DEFAULT = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {folder}
devices = {folder}
mount_check = false
workers = 0
log_level = WARNING
conn_timeout = 10
node_timeout = 60
container_update_timeout = 60
fallocate_reserve = 0
"""
STORE = """
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats cache s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
conn_timeout = 10
node_timeout = 60
recoverable_node_timeout = 60
client_timeout = 60
error_suppression_interval = 0
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:cache]
paste.filter_factory = __main__:without_cache
[filter:s3api]
use = egg:swift#s3api
multi_delete_concurrency = 10
max_bucket_listing = {page}
[filter:tempauth]
use = egg:swift#tempauth
{users}
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
USERS = "\n".join(f"user_test{number}_tester = testing .admin" for number in ("", *range(ACCOUNTS)))


@dataclass(frozen=True)
class Account:
    """A separate namespace of buckets."""

    endpoint: str
    access_key: str = "test:tester"
    secret_key: str = "testing"

    def with_endpoint(self, endpoint: str) -> "Account":
        return replace(self, endpoint=endpoint)

    def client(self) -> Any:
        """Return a client that reads the stored data without the service."""
        config = Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"}, max_pool_connections=20)
        keys = {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", config=config, **keys)

    def settings(self) -> Mapping[str, object]:
        """Return the settings of a service that stores its records in this account."""
        return {
            "STORAGE__TYPE": "s3",
            "S3__ENDPOINT_URL": self.endpoint,
            "S3__REGION": "us-east-1",
            "S3__ACCESS_KEY_ID": self.access_key,
            "S3__SECRET_ACCESS_KEY": self.secret_key,
            "S3__ADDRESSING_STYLE": "path",
        }


class Swift:
    """A Swift server with its data in one folder. It can be started and stopped many times."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self._folder = folder.resolve()
        self._port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.account = Account(f"http://127.0.0.1:{self._port}")
        self._numbers = iter(range(ACCOUNTS))

    def __enter__(self) -> "Swift":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, ex: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def fresh_account(self) -> Account:
        """Return an unused account, without data of other tests."""
        return replace(self.account, access_key=f"test{next(self._numbers)}:tester")

    def start(self) -> "Swift":
        (self._folder / "disk").mkdir(parents=True, exist_ok=True)
        self._check_machine()
        ports = self._write_settings()
        with (self._folder / "log").open("ab") as log:
            process = self._process = subprocess.Popen(
                (PYTHON, "-I", str(SERVER), str(self._folder)),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(lambda: process.poll() is not None or all(map(is_open, ports)), 60)
        assert process.poll() is None, self.log()
        return self

    def stop(self) -> None:
        if self._process:
            self._process.communicate(timeout=20)
            self._process = None

    def wait(self) -> None:
        """Wait until Swift ends because of an error."""
        assert self._process
        self._process.wait()

    def log(self) -> str:
        return (self._folder / "log").read_text("utf-8")

    def _check_machine(self) -> None:
        found = subprocess.run((PYTHON, "-I", "-c", "import swift"), capture_output=True)
        need(found.returncode == 0, "Debian's package python3-swift")
        try:
            os.setxattr(self._folder / "disk", "user.swift", b"")
        except OSError:
            need(False, f"extended attributes in {self._folder}")

    def _write_settings(self) -> list[int]:
        """Write the settings of all servers, and return their ports."""
        ports = {"proxy": self._port, **{store: free_port() for store in STORES}}
        (self._folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = luna\n")
        for name, port in ports.items():
            default = DEFAULT.format(port=port, user=pwd.getpwuid(os.geteuid()).pw_name, folder=self._folder)
            own = PROXY.format(users=USERS, page=PAGE) if name == "proxy" else STORE.format(name=name)
            (self._folder / f"{name}.conf").write_text(default + own)
        return list(ports.values())


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def main(folder: str) -> None:
    """Serve until Ctrl+C, and print how to use the server."""
    if is_open(PORT):
        sys.exit(f"port {PORT} is taken")
    try:
        with Swift(Path(folder), PORT) as swift:
            print(f"Swift serves S3 on {swift.account.endpoint}. Its data and its log are in {folder}. Stop it with Ctrl+C.")
            print("To use it with the service:\n")
            for key, value in swift.account.settings().items():
                print(f"export LUNA_IMAGE_STORE__{key}={value}")
            print(flush=True)
            swift.wait()
            sys.exit(swift.log()[-2000:])
    except KeyboardInterrupt:
        print("stopped")
    except pytest.skip.Exception as ex:
        sys.exit(str(ex))


if __name__ == "__main__":
    main(sys.argv[1])
