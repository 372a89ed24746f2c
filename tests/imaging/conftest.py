import pytest

from luna_image_store.imaging import render as imaging

from .measure import encoded


@pytest.fixture
def lossless(monkeypatch):
    """Let pictures leave the renderer as they are before they are encoded."""
    monkeypatch.setattr(imaging, "_encode", lambda picture, *_, **__: encoded(picture, "PNG", compress_level=1))
