"""Several clients at once on one bucket, and on one picture."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

from ..machine import wait_until
from .conftest import Start, on_disk_and_s3
from .kept import Kept, OnDisk, OnS3
from .pictures import marked, picture, size_of
from .service import Service

ROUNDS, WRITERS, SAVES = 20, 6, 300
ROUNDS_ON_S3, WRITERS_ON_S3, SAVES_ON_S3 = 2, 2, 20  # there, a bucket goes when writers leave it empty for a moment
SECONDS_ON_S3 = 60  # a deletion that takes long goes on in the background
IMAGE = "/1/buckets/pictures/images/8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"


def work_until_it_is_gone(service: Service, jpeg: bytes, saves: int) -> set[tuple[int, int]]:
    """Save and delete in ever new directories until the bucket is missing; give the statuses with their error codes."""
    seen = set()
    for number in range(saves):
        path = f"/1/buckets/pictures/images/{uuid4()}"
        answers = [service.post("/1/buckets/pictures/images", jpeg) if number % 3 == 0 else service.put(path, jpeg)]
        if number % 3 == 1:
            answers.append(service.delete(path))
        elif number % 3 == 2:
            answers.append(service.delete("/1/buckets/pictures/images", json={"images": [path[-36:]]}))
        seen |= {(answer.status_code, answer.json().get("error_code", 0) if answer.content else 0) for answer in answers}
        if answers[-1].status_code == 404:
            break
    return seen


@on_disk_and_s3
def test_a_bucket_deleted_while_clients_work_in_it_is_gone(start: Start, kept: Kept) -> None:
    service = start(HTTP__WORKERS=4)
    workers, jpeg, on_disk = service.workers(), picture(64, 48), isinstance(kept, OnDisk)
    rounds, writers, saves = (ROUNDS, WRITERS, SAVES) if on_disk else (ROUNDS_ON_S3, WRITERS_ON_S3, SAVES_ON_S3)
    for number in range(rounds):
        service.make_bucket()
        with ThreadPoolExecutor() as pool:
            writing = [pool.submit(work_until_it_is_gone, service, jpeg, saves) for _ in range(writers)]
            time.sleep(0.03 + 0.01 * (number % 7))
            assert service.delete("/1/buckets/pictures").status_code == 202
        seen = set().union(*(written.result() for written in writing))
        on_the_way = set() if on_disk else {(404, 13003)}  # there, its pictures go first
        assert seen <= {(201, 0), (200, 0), (204, 0), (404, 13901)} | on_the_way
        # asked for again: on Swift, a save that was on its way may bring the bucket back
        wait_until(lambda: service.delete("/1/buckets/pictures").status_code == 404, 0 if on_disk else SECONDS_ON_S3)
        assert service.get("/1/buckets").json() == []
        assert not kept.leftovers()
    assert service.workers() == workers
    assert "Traceback" not in service.log()


@on_disk_and_s3
def test_a_bucket_deleted_by_many_clients_at_once_is_deleted(start: Start, kept: Kept) -> None:
    service = start(HTTP__WORKERS=4)
    for _ in range(10):
        with ThreadPoolExecutor() as pool:
            made = list(pool.map(lambda _: service.post("/1/buckets?bucket=pictures").status_code, range(4)))
            gone = list(pool.map(lambda _: service.delete("/1/buckets/pictures").status_code, range(4)))
        assert sorted(made) == [201, 409, 409, 409]
        deleted = gone.count(202)
        assert gone.count(404) == len(gone) - deleted
        assert deleted == 1 or (deleted and isinstance(kept, OnS3))  # there, who asks while it is being deleted is told so, too
        assert service.get("/1/buckets").json() == []


@on_disk_and_s3
def test_a_bucket_made_and_deleted_by_many_clients_is_there_or_not(start: Start, kept: Kept) -> None:
    service, times = start(HTTP__WORKERS=4), 60 if isinstance(kept, OnDisk) else 15

    def alternate(_: int) -> set[int]:
        steps = [partial(service.post, "/1/buckets?bucket=pictures"), partial(service.delete, "/1/buckets/pictures")] * times
        return {step().status_code for step in steps}

    with ThreadPoolExecutor() as pool:
        assert set().union(*pool.map(alternate, range(4))) <= {201, 409, 202, 404}
    assert not service.kept.leftovers()


@on_disk_and_s3
def test_of_two_writers_of_one_picture_one_wins_whole(start: Start) -> None:
    service = start(HTTP__WORKERS=4)
    service.make_bucket()
    tall, wide = picture(100, 200), picture(300, 150)
    shapes = {tall: (16, 32), wide: (32, 16)}
    for number in range(15):
        both = {marked(jpeg, str(number)): shape for jpeg, shape in shapes.items()}
        with ThreadPoolExecutor() as pool:
            statuses = set(pool.map(lambda jpeg: service.put(IMAGE, jpeg).status_code, [*both] * 2))
        assert statuses == {200}
        kept = service.get(IMAGE).content
        assert size_of(service.get(f"{IMAGE}_32").content) == both[kept]
    assert len(service.kept.ids()) == 1
