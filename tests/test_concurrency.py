import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from luna_image_store import concurrency
from luna_image_store.imaging.render import RENDERER, Renderer, RenderSettings
from luna_image_store.services import ImageService
from luna_image_store.settings import PREFIX, load
from tests.pictures import jpeg

CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("given", "decodes"),
    [
        ({"STORAGE__TYPE": "s3"}, 1),
        ({"STORAGE__TYPE": "s3", "HTTP__WORKERS": 1}, CORES),
        ({"HTTP__WORKERS": 100, "HTTP__THREADS": 100}, 1),
    ],
    ids=["workers by default", "one worker", "many workers"],
)
def test_all_workers_together_decode_on_each_core_once(given, decodes):
    assert concurrency.decodes(load(environ={PREFIX + name: str(value) for name, value in given.items()})) == decodes


def test_however_many_threads_ask_no_more_pictures_are_decoded_at_once(storage):
    running, most, lock = 0, 0, threading.Lock()

    def counted(*given):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        try:
            return RENDERER.render(*given)
        finally:
            with lock:
                running -= 1

    storage.create_bucket("pictures")
    images = ImageService(
        storage, RenderSettings(95, 90, "#ffffff", 10**6), decodes=2, renderer=Renderer(counted, RENDERER.preview)
    )
    with ThreadPoolExecutor(6) as pool:
        for saved in [pool.submit(images.create, "pictures", jpeg(), None, {}) for _ in range(12)]:
            saved.result()
    assert most == 2
