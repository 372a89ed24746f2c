"""The client of an S3 service, based on boto3."""

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
from luna_image_store.storage.s3.errors import S3Response, s3_errors
from luna_image_store.storage.s3.names import bucket_name_problem, name_of

for library in ("botocore", "urllib3"):  # at lower levels, they log bodies and signatures
    logging.getLogger(library).setLevel(logging.WARNING)


class S3Client:
    """Sends requests to S3.

    A client of boto3 does not survive a fork, and looks for credentials only once. So the first request creates it. If the settings
    have keys, it is created at once: that needs no network request.
    """

    def __init__(self, settings: S3Settings, connections: int) -> None:
        """Raise StorageUnavailable if the settings cannot be used."""
        self._settings = settings
        self._connections = connections
        self._lock = Lock()
        self._boto: Any = None
        if settings.access_key_id or settings.secret_access_key:
            with s3_errors("open the storage", "connect"):
                self._boto = self._create_client()

    def __call__(self, purpose: str, method: str, bucket: str = "", key: Key | None = None, **parameters: Any) -> S3Response:
        """Send a request. Raise BucketNotFound without a request if the bucket name is invalid on S3."""
        if bucket:
            if bucket_name_problem(bucket):
                raise BucketNotFound(bucket)
            parameters["Bucket"] = bucket
        if key:
            parameters["Key"] = name_of(key)
        with s3_errors(purpose, method, bucket, key):
            return S3Response(purpose, getattr(self._client(), method)(**parameters))

    def region(self) -> str | None:
        """Return the region for new buckets, or None if requests must not name it."""
        region = str(self._client().meta.region_name)
        return None if region in ("None", "us-east-1", "aws-global") else region

    def _client(self) -> Any:
        with self._lock:
            self._boto = self._boto or self._create_client()
            return self._boto

    def _create_client(self) -> Any:
        settings = self._settings
        config = Config(
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            retries={"mode": "standard", "total_max_attempts": settings.max_attempts},
            max_pool_connections=self._connections,
            tcp_keepalive=True,
            user_agent=f"luna-image-store/{__version__}",  # building the default takes boto3 a sixth of the time of a request
            signature_version="s3v4",
            s3={"addressing_style": settings.addressing_style},
            request_checksum_calculation="when_required",  # many servers do not support the default checksums
            response_checksum_validation="when_required",
        )
        if bool(settings.access_key_id) != bool(settings.secret_access_key):
            raise PartialCredentialsError(provider="the settings", cred_var="ACCESS_KEY_ID or SECRET_ACCESS_KEY")
        session = boto3.session.Session(
            settings.access_key_id or None, settings.secret_access_key or None, region_name=settings.region or None
        )
        if session.get_credentials() is None:
            raise NoCredentialsError
        verify = None if settings.verify_ssl else False  # None: use AWS_CA_BUNDLE, if it is set
        boto = session.client("s3", endpoint_url=settings.endpoint_url or None, verify=verify, config=config)
        boto.meta.events.register("before-call.s3.DeleteObjects", _use_content_md5)
        return boto


def _use_content_md5(params: dict[str, Any], **_: Any) -> None:
    """Send Content-MD5, which every server supports. Older servers refuse newer checksums."""
    params["context"].pop("checksum", None)
    params["headers"]["Content-MD5"] = b64encode(md5(params["body"], usedforsecurity=False).digest()).decode()
