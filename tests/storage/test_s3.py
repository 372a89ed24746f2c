from contextlib import closing

import pytest

from luna_image_store.errors import BucketNotFound, StorageUnavailable
from luna_image_store.settings import PREFIX, load
from luna_image_store.storage.record import encode
from luna_image_store.storage.s3.backend import S3Storage
from luna_image_store.storage.s3.upload import PART_SIZE
from tests.scripted_s3 import storage_at
from tests.storage.contract import CHUNK, ID, OBJECT, TEXT, StorageContract, large, read


class S3Contract(StorageContract):
    max_memory = 5 * PART_SIZE

    def raw_read(self, storage, bucket, key):
        names = self.raw_names(storage, bucket)
        name = f"{key.kind.folder}/{key.id}{key.kind.ending}"
        return self.boto.get_object(Bucket=bucket, Key=name)["Body"].read() if name in names else None

    def raw_write(self, storage, bucket, key, data):
        self.boto.put_object(Bucket=bucket, Key=f"{key.kind.folder}/{key.id}{key.kind.ending}", Body=data)

    def raw_names(self, storage, bucket):
        uploads = self.boto.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
        return [entry["Key"] for entry in (*self.boto.list_objects_v2(Bucket=bucket).get("Contents", ()), *uploads)]

    def raw_strays(self, storage, bucket):
        for folder in ("images", "objects"):
            for name in ("", "README", f"{ID}.png", f"{ID}.jpg.jpg", f"14/{ID}.jpg", f"14/{ID}", ID.upper(), f"{ID}/"):
                self.boto.put_object(Bucket=bucket, Key=f"{folder}/{name}", Body=b"")
        self.boto.put_object(Bucket=bucket, Key=f"images/{ID}", Body=b"")
        self.boto.put_object(Bucket=bucket, Key=f"objects/{ID}.jpg", Body=b"")
        self.boto.put_object(Bucket=bucket, Key=f"{ID}.jpg", Body=b"")

    @pytest.mark.parametrize("difference", [-1, 0, 1, PART_SIZE])
    def test_a_record_of_about_the_size_of_a_part_is_stored_completely(self, storage, bucket, difference):
        overhead = len(b"".join(encode(TEXT, [bytes(PART_SIZE)]))) - PART_SIZE
        payload = bytes(PART_SIZE - overhead + difference)
        storage.put(bucket, OBJECT, TEXT, [payload])
        assert storage.head(bucket, OBJECT).payload.length == len(payload)
        assert read(storage.open(bucket, OBJECT)) == payload

    def test_a_range_of_a_replaced_record_is_unavailable(self, storage, bucket):
        storage.put(bucket, OBJECT, TEXT, large())
        with closing(storage.open(bucket, OBJECT).payload) as payload:
            storage.put(bucket, OBJECT, TEXT, [b"x" * CHUNK] * 5)
            with pytest.raises(StorageUnavailable):
                payload.set_range(CHUNK, 10)


@pytest.mark.parametrize(("style", "host"), [("path", "s3.example"), ("virtual", "photos.s3.example")])
def test_the_addressing_style_of_the_settings_is_used(scripted_server, monkeypatch, style, host):
    monkeypatch.setenv("http_proxy", scripted_server.url)  # the client sends requests for all hosts to it
    monkeypatch.setenv("no_proxy", "")
    scripted_server.requests.clear()
    scripted_server.play = lambda client, method, path: client.respond(404)
    with pytest.raises(BucketNotFound):
        storage_at("http://s3.example", ADDRESSING_STYLE=style).delete_bucket("photos")
    assert scripted_server.requests == [f"HEAD http://{host}/{'photos' if style == 'path' else ''}"]


class TestOnMoto(S3Contract):
    @pytest.fixture
    def storage(self, s3, storage_on_moto):
        self.boto = s3.boto
        return storage_on_moto


class TestOnSwift(S3Contract):
    @pytest.fixture
    def account(self, swift):
        return swift.fresh_account()

    @pytest.fixture
    def storage(self, account):
        environ = {PREFIX + name: str(value) for name, value in account.settings().items()}
        return S3Storage(load(environ=environ).s3, threads=8)

    @pytest.fixture(autouse=True)
    def boto_client(self, account):
        self.boto = account.client()
