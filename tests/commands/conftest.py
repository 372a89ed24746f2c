import logging
import os

import pytest


@pytest.fixture
def process():
    """Put back what the tools settle for their whole process."""
    mask, logger = os.umask(0o022), logging.getLogger("luna_image_store")
    level = logger.level
    yield
    os.umask(mask)
    logger.setLevel(level)
