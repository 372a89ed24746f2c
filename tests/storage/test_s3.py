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
    most_memory = 5 * PART_SIZE

    def raw_read(self, storage, bucket, key):
        names = self.raw_names(storage, bucket)
        name = f"{key.kind.folder}/{key.id}{key.kind.ending}"
        return self.boto.get_object(Bucket=bucket, Key=name)["Body"].read() if name in names else None

    def raw_write(self, storage, bucket, key, data):
        self.boto.put_object(Bucket=bucket, Key=f"{key.kind.folder}/{key.id}{key.kind.ending}", Body=data)

    def raw_names(self, storage, bucket):
        unfinished = self.boto.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
        return [entry["Key"] for entry in (*self.boto.list_objects_v2(Bucket=bucket).get("Contents", ()), *unfinished)]

    def raw_strays(self, storage, bucket):
        for folder in ("images", "objects"):
            for name in ("", "README", f"{ID}.png", f"{ID}.jpg.jpg", f"14/{ID}.jpg", f"14/{ID}", ID.upper(), f"{ID}/"):
                self.boto.put_object(Bucket=bucket, Key=f"{folder}/{name}", Body=b"")
        self.boto.put_object(Bucket=bucket, Key=f"images/{ID}", Body=b"")
        self.boto.put_object(Bucket=bucket, Key=f"objects/{ID}.jpg", Body=b"")
        self.boto.put_object(Bucket=bucket, Key=f"{ID}.jpg", Body=b"")

    @pytest.mark.parametrize("more", [-1, 0, 1, PART_SIZE])
    def test_a_record_of_about_a_part_is_kept_whole(self, storage, bucket, more):
        rest = len(b"".join(encode(TEXT, [bytes(PART_SIZE)]))) - PART_SIZE
        payload = bytes(PART_SIZE - rest + more)
        storage.put(bucket, OBJECT, TEXT, [payload])
        assert storage.head(bucket, OBJECT).payload.length == len(payload)
        assert read(storage.open(bucket, OBJECT)) == payload

    def test_a_part_that_was_replaced_since_it_was_opened_is_not_mixed_in(self, storage, bucket):
        storage.put(bucket, OBJECT, TEXT, large())
        with closing(storage.open(bucket, OBJECT).payload) as payload:
            storage.put(bucket, OBJECT, TEXT, [b"x" * CHUNK] * 5)
            with pytest.raises(StorageUnavailable):
                payload.set_range(CHUNK, 10)


@pytest.mark.parametrize(("style", "host"), [("path", "s3.example"), ("virtual", "pictures.s3.example")])
def test_a_bucket_is_addressed_as_the_settings_say(scripted_server, monkeypatch, style, host):
    monkeypatch.setenv("http_proxy", scripted_server.url)  # it is sent to for all hosts
    monkeypatch.setenv("no_proxy", "")
    scripted_server.requests.clear()
    scripted_server.play = lambda client, method, path: client.answer(404)
    with pytest.raises(BucketNotFound):
        storage_at("http://s3.example", ADDRESSING_STYLE=style).delete_bucket("pictures")
    assert scripted_server.requests == [f"HEAD http://{host}/{'pictures' if style == 'path' else ''}"]


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
        given = {PREFIX + name: str(value) for name, value in account.settings().items()}
        return S3Storage(load(environ=given).s3, threads=8)

    @pytest.fixture(autouse=True)
    def known_server(self, account):
        self.boto = account.client()
