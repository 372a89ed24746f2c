"""nginx in front of services, with the site file of the package."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..machine import free_port, tool, wait_until
from .service import REPOSITORY, Endpoint

SITE = REPOSITORY / "deploy" / "nginx" / "luna-image-store.conf"
SERVER, LISTEN = "server unix:/run/luna-image-store/http.sock max_fails=0;", "listen 80;"

# The header sets the client address of a test. The short lingering timeout saves time.
MAIN = """
{user}
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Client-Address;
    lingering_timeout 1s;
    include {folder}/site.conf;
}}
"""


@contextmanager
def nginx(folder: Path, *addresses: str) -> Iterator[Endpoint]:
    """Run nginx on a free port, in front of services that listen on these addresses."""
    proxy, site = Endpoint(free_port()), SITE.read_text()
    assert site.count(SERVER) == 1
    assert site.count(LISTEN) == 1
    servers = "\n".join(SERVER.replace("unix:/run/luna-image-store/http.sock", address) for address in addresses)
    (folder / "site.conf").write_text(site.replace(SERVER, servers).replace(LISTEN, f"listen 127.0.0.1:{proxy.port};"))
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user="user root;" if os.geteuid() == 0 else ""))
    command = (tool("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log"))
    checked = subprocess.run((*command, "-t"), capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr, checked.stderr
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: is_open(proxy))
        yield proxy
    finally:
        process.terminate()
        process.wait(10)


def is_open(endpoint: Endpoint) -> bool:
    try:
        with endpoint.connection():
            return True
    except OSError:
        return False
