import logging
import os

import pytest


@pytest.fixture
def restored_process():
    """Restore the umask and the log level, which commands set for their process."""
    mask, logger = os.umask(0o022), logging.getLogger("luna_image_store")
    level = logger.level
    yield
    os.umask(mask)
    logger.setLevel(level)
