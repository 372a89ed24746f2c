"""Several clients use one bucket or one image at the same time."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

from ..machine import wait_until
from .conftest import Start, on_disk_and_s3
from .images import jpeg_size, noise_image, with_comment
from .raw_storage import RawDisk, RawS3, RawStorage
from .service import Service

ROUNDS, WRITERS, SAVES = 20, 6, 300
ROUNDS_ON_S3, WRITERS_ON_S3, SAVES_ON_S3 = 2, 2, 20  # S3 deletes a bucket only when the writers leave it empty for a moment
SECONDS_ON_S3 = 60  # a long deletion continues in the background
IMAGE = "/1/buckets/photos/images/8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"


def write_until_the_bucket_is_missing(service: Service, jpeg: bytes, saves: int) -> set[tuple[int, int]]:
    """Save and delete images with new ids until the bucket is missing. Return the statuses with their error codes."""
    seen = set()
    for number in range(saves):
        path = f"/1/buckets/photos/images/{uuid4()}"
        answers = [service.post("/1/buckets/photos/images", jpeg) if number % 3 == 0 else service.put(path, jpeg)]
        if number % 3 == 1:
            answers.append(service.delete(path))
        elif number % 3 == 2:
            answers.append(service.delete("/1/buckets/photos/images", json={"images": [path[-36:]]}))
        seen |= {(answer.status_code, answer.json().get("error_code", 0) if answer.content else 0) for answer in answers}
        if answers[-1].status_code == 404:
            break
    return seen


@on_disk_and_s3
def test_bucket_is_deleted_while_clients_write_to_it(start: Start, storage: RawStorage) -> None:
    service = start(HTTP__WORKERS=4)
    workers, jpeg, on_disk = service.workers(), noise_image(64, 48), isinstance(storage, RawDisk)
    rounds, writers, saves = (ROUNDS, WRITERS, SAVES) if on_disk else (ROUNDS_ON_S3, WRITERS_ON_S3, SAVES_ON_S3)
    for number in range(rounds):
        service.make_bucket()
        with ThreadPoolExecutor() as pool:
            writing = [pool.submit(write_until_the_bucket_is_missing, service, jpeg, saves) for _ in range(writers)]
            time.sleep(0.03 + 0.01 * (number % 7))
            assert service.delete("/1/buckets/photos").status_code == 202
        seen = set().union(*(written.result() for written in writing))
        during_deletion = set() if on_disk else {(404, 13003)}  # S3 storage deletes the images first
        assert seen <= {(201, 0), (200, 0), (204, 0), (404, 13901)} | during_deletion
        # repeat the deletion: on Swift, a save in progress can create the bucket again
        wait_until(lambda: service.delete("/1/buckets/photos").status_code == 404, 0 if on_disk else SECONDS_ON_S3)
        assert service.get("/1/buckets").json() == []
        assert not storage.leftovers()
    assert service.workers() == workers
    assert "Traceback" not in service.log()


@on_disk_and_s3
def test_concurrent_deletions_delete_the_bucket(start: Start, storage: RawStorage) -> None:
    service = start(HTTP__WORKERS=4)
    for _ in range(10):
        with ThreadPoolExecutor() as pool:
            creations = list(pool.map(lambda _: service.post("/1/buckets?bucket=photos").status_code, range(4)))
            deletions = list(pool.map(lambda _: service.delete("/1/buckets/photos").status_code, range(4)))
        assert sorted(creations) == [201, 409, 409, 409]
        accepted = deletions.count(202)
        assert deletions.count(404) == len(deletions) - accepted
        assert accepted == 1 or (accepted and isinstance(storage, RawS3))  # each request during a deletion on S3 gets 202
        assert service.get("/1/buckets").json() == []


@on_disk_and_s3
def test_concurrent_creations_and_deletions_leave_no_leftovers(start: Start, storage: RawStorage) -> None:
    service, times = start(HTTP__WORKERS=4), 60 if isinstance(storage, RawDisk) else 15

    def alternate(_: int) -> set[int]:
        steps = [partial(service.post, "/1/buckets?bucket=photos"), partial(service.delete, "/1/buckets/photos")] * times
        return {step().status_code for step in steps}

    with ThreadPoolExecutor() as pool:
        assert set().union(*pool.map(alternate, range(4))) <= {201, 409, 202, 404}
    assert not service.storage.leftovers()


@on_disk_and_s3
def test_concurrent_writers_of_one_image_leave_one_complete_record(start: Start) -> None:
    service = start(HTTP__WORKERS=4)
    service.make_bucket()
    tall, wide = noise_image(100, 200), noise_image(300, 150)
    shapes = {tall: (16, 32), wide: (32, 16)}
    for number in range(15):
        both = {with_comment(jpeg, str(number)): shape for jpeg, shape in shapes.items()}
        with ThreadPoolExecutor() as pool:
            statuses = set(pool.map(lambda jpeg: service.put(IMAGE, jpeg).status_code, [*both] * 2))
        assert statuses == {200}
        stored = service.get(IMAGE).content
        assert jpeg_size(service.get(f"{IMAGE}_32").content) == both[stored]
    assert len(service.storage.ids()) == 1
