"""An S3 service to test with: moto, in a process of its own, spoken to over HTTP."""

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
REGION = "eu-central-1"  # in us-east-1 a bucket that exists can be made again
KEYS = {"ACCESS_KEY_ID": "tester", "SECRET_ACCESS_KEY": "testing"}
REPOSITORY = Path(__file__).parents[1]


class Moto:
    """A running moto; `log` is where it writes a line for each request."""

    def __init__(self, log):
        self._log = log
        self._seen = 0
        self.url = wait_until(lambda: LISTENING.search(log.read_text("utf-8")))[1]
        self.boto = client(self.url)

    def settings(self, **changed):
        """Give the settings that lead here, as variables of the environment."""
        given = {"ENDPOINT_URL": self.url, "REGION": REGION, **KEYS, **changed}
        return {f"{PREFIX}STORAGE__TYPE": "s3", **{f"{PREFIX}S3__{key}": str(value) for key, value in given.items()}}

    def clear(self):
        """Forget all buckets."""
        requests.post(f"{self.url}/moto-api/reset", timeout=10).raise_for_status()

    def requests(self):
        """List the requests that came since this was last asked, as method and path."""
        text = self._log.read_text("utf-8")
        text, self._seen = text[self._seen :], len(text)
        return REQUEST.findall(text)


class KeptObject:
    """An object on S3, with what tests use of a file."""

    def __init__(self, boto, bucket, name):
        self._boto = boto
        self._place = {"Bucket": bucket, "Key": name}

    def exists(self):
        try:
            self._boto.head_object(**self._place)
        except ClientError:
            return False
        return True

    def read_bytes(self):
        return self._boto.get_object(**self._place)["Body"].read()

    def write_bytes(self, data):
        """Replace the bytes alone."""
        metadata = self._boto.head_object(**self._place)["Metadata"]
        self._boto.put_object(**self._place, Body=data, Metadata=metadata)


def client(url):
    """Make a client of boto3 that knows nothing of ours."""
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
    """Serve until terminated. Each request is told before it is answered, and in one piece, so that none can be missed.

    They are answered one after the other: moto's own data may be torn by two at the same time.
    """
    moto, alone = DomainDispatcherApplication(create_backend_app), Lock()

    def told(environ, start_response):
        query = environ["QUERY_STRING"]
        print(f"request: {environ['REQUEST_METHOD']} {environ['PATH_INFO']}{query and '?'}{query}\n", end="", flush=True)
        with alone:
            return moto(environ, start_response)

    run_simple("127.0.0.1", 0, told, threaded=True)


if __name__ == "__main__":
    serve()
