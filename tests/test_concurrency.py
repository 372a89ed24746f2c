import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from luna_image_store import concurrency
from luna_image_store.imaging.render import RENDERER, Renderer, RenderSettings
from luna_image_store.services import ImageService
from luna_image_store.settings import PREFIX, load
from tests.sample_images import jpeg

CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("variables", "decodes"),
    [
        ({"STORAGE__TYPE": "s3"}, 1),
        ({"STORAGE__TYPE": "s3", "HTTP__WORKERS": 1}, CORES),
        ({"HTTP__WORKERS": 100, "HTTP__THREADS": 100}, 1),
    ],
    ids=["workers by default", "one worker", "many workers"],
)
def test_all_workers_together_decode_one_image_per_core(variables, decodes):
    assert concurrency.decodes(load(environ={PREFIX + name: str(value) for name, value in variables.items()})) == decodes


def test_the_number_of_concurrent_decodes_is_limited(storage):
    running, max_running, lock = 0, 0, threading.Lock()

    def counting_render(*arguments):
        nonlocal running, max_running
        with lock:
            running += 1
            max_running = max(max_running, running)
        time.sleep(0.02)
        try:
            return RENDERER.render(*arguments)
        finally:
            with lock:
                running -= 1

    storage.create_bucket("photos")
    images = ImageService(
        storage, RenderSettings(95, 90, "#ffffff", 10**6), decodes=2, renderer=Renderer(counting_render, RENDERER.preview)
    )
    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(images.create, "photos", jpeg(), None, {}) for _ in range(12)]:
            future.result()
    assert max_running == 2
