"""The way to an S3 service: boto3's client, made from the settings, and its answers."""

import logging
from base64 import b64encode
from hashlib import md5
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import NoCredentialsError, PartialCredentialsError

from luna_image_store import __version__
from luna_image_store.errors import BucketNotFound
from luna_image_store.settings import S3Settings
from luna_image_store.storage.base import Key
from luna_image_store.storage.s3.errors import Answer, s3_errors
from luna_image_store.storage.s3.names import bucket_name_problem, name_of

for chatty in ("botocore", "urllib3"):  # below, they log bodies and signatures
    logging.getLogger(chatty).setLevel(logging.WARNING)


class S3Client:
    """Makes requests to S3.

    boto3's client does not live through a fork, and finds no credentials later that were not there when it was made. So it is
    made with the first request; with keys in the settings at once, since then nothing is asked of the network for it.
    """

    def __init__(self, settings: S3Settings, connections: int) -> None:
        """Raise StorageUnavailable if the settings cannot be used."""
        self._settings = settings
        self._connections = connections
        self._lock = Lock()
        self._boto: Any = None
        if settings.access_key_id or settings.secret_access_key:
            with s3_errors("open the storage", "connect"):
                self._boto = self._made()

    def __call__(self, purpose: str, method: str, bucket: str = "", key: Key | None = None, **parameters: Any) -> Answer:
        """Make a request. A bucket whose name S3 can't have is missing without one."""
        if bucket:
            if bucket_name_problem(bucket):
                raise BucketNotFound(bucket)
            parameters["Bucket"] = bucket
        if key:
            parameters["Key"] = name_of(key)
        with s3_errors(purpose, method, bucket, key):
            return Answer(purpose, getattr(self._made_once(), method)(**parameters))

    def region(self) -> str | None:
        """Tell where new buckets are made; None where the service need not be told."""
        region = str(self._made_once().meta.region_name)
        return None if region in ("None", "us-east-1", "aws-global") else region

    def _made_once(self) -> Any:
        with self._lock:
            self._boto = self._boto or self._made()
            return self._boto

    def _made(self) -> Any:
        settings = self._settings
        config = Config(
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            retries={"mode": "standard", "total_max_attempts": settings.max_attempts},
            max_pool_connections=self._connections,
            tcp_keepalive=True,
            user_agent=f"luna-image-store/{__version__}",  # to put together its own takes boto3 a sixth of a request
            signature_version="s3v4",
            s3={"addressing_style": settings.addressing_style},
            request_checksum_calculation="when_required",  # many servers do not know those that would be sent by default
            response_checksum_validation="when_required",
        )
        if bool(settings.access_key_id) != bool(settings.secret_access_key):
            raise PartialCredentialsError(provider="the settings", cred_var="ACCESS_KEY_ID or SECRET_ACCESS_KEY")
        session = boto3.session.Session(
            settings.access_key_id or None, settings.secret_access_key or None, region_name=settings.region or None
        )
        if session.get_credentials() is None:
            raise NoCredentialsError
        verify = None if settings.verify_ssl else False  # None: as AWS_CA_BUNDLE says
        boto = session.client("s3", endpoint_url=settings.endpoint_url or None, verify=verify, config=config)
        boto.meta.events.register("before-call.s3.DeleteObjects", _demand_md5)
        return boto


def _demand_md5(params: dict[str, Any], **_: Any) -> None:
    """Send Content-MD5, which every server takes, in place of the newer sums, which older ones refuse."""
    params["context"].pop("checksum", None)
    params["headers"]["Content-MD5"] = b64encode(md5(params["body"], usedforsecurity=False).digest()).decode()
