"""An S3 service for tests: moto in a separate process, over HTTP."""

import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

from luna_image_store.settings import PREFIX
from tests.machine import wait_until

REQUEST = re.compile(r"^request: ([A-Z]+ /(?!moto-api).*)", re.MULTILINE)
LISTENING = re.compile(r"Running on (http://127\.0\.0\.1:[0-9]+)")
REGION = "eu-central-1"  # in us-east-1, CreateBucket succeeds for an existing bucket
KEYS = {"ACCESS_KEY_ID": "tester", "SECRET_ACCESS_KEY": "testing"}
REPOSITORY = Path(__file__).parents[1]


class Moto:
    """A running moto. It writes a line for each request to `log`."""

    def __init__(self, log):
        self._log = log
        self._seen = 0
        self.url = wait_until(lambda: LISTENING.search(log.read_text("utf-8")))[1]
        self.boto = client(self.url)

    def settings(self, **changed):
        """Return the settings of a service that uses this S3 service, as environment variables."""
        values = {"ENDPOINT_URL": self.url, "REGION": REGION, **KEYS, **changed}
        return {f"{PREFIX}STORAGE__TYPE": "s3", **{f"{PREFIX}S3__{key}": str(value) for key, value in values.items()}}

    def clear(self):
        """Delete all buckets."""
        requests.post(f"{self.url}/moto-api/reset", timeout=10).raise_for_status()

    def requests(self):
        """Return the requests since the last call, as method and path."""
        text = self._log.read_text("utf-8")
        text, self._seen = text[self._seen :], len(text)
        return REQUEST.findall(text)


class StoredObject:
    """An S3 object with the methods of a path that tests use."""

    def __init__(self, boto, bucket, name):
        self._boto = boto
        self._address = {"Bucket": bucket, "Key": name}

    def exists(self):
        try:
            self._boto.head_object(**self._address)
        except ClientError:
            return False
        return True

    def read_bytes(self):
        return self._boto.get_object(**self._address)["Body"].read()

    def write_bytes(self, data):
        """Replace the bytes, but not the metadata."""
        metadata = self._boto.head_object(**self._address)["Metadata"]
        self._boto.put_object(**self._address, Body=data, Metadata=metadata)


def client(url):
    """Return a client of boto3 with default settings."""
    keys = {"aws_access_key_id": KEYS["ACCESS_KEY_ID"], "aws_secret_access_key": KEYS["SECRET_ACCESS_KEY"]}
    return boto3.session.Session().client(
        "s3", endpoint_url=url, region_name=REGION, config=Config(retries={"max_attempts": 0}), **keys
    )


@contextmanager
def running(folder):
    """Run moto on a free port."""
    log = folder / "moto.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            (sys.executable, "-m", "tests.moto_server"), cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield Moto(log)
    finally:
        process.terminate()
        process.wait()


def serve():
    """Serve until terminated. Each request is logged with one write before the response, so that no line is missing.

    One request is served at a time: concurrent requests can corrupt the data of moto.
    """
    moto, lock = DomainDispatcherApplication(create_backend_app), Lock()

    def logged(environ, start_response):
        query = environ["QUERY_STRING"]
        print(f"request: {environ['REQUEST_METHOD']} {environ['PATH_INFO']}{query and '?'}{query}\n", end="", flush=True)
        with lock:
            return moto(environ, start_response)

    run_simple("127.0.0.1", 0, logged, threaded=True)


if __name__ == "__main__":
    serve()
