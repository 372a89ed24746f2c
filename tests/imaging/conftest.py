import logging

import pytest


@pytest.fixture
def nothing_logged(caplog, capfd):
    """Check that nothing above INFO is logged, and that libraries write nothing to stderr."""
    yield
    assert not [record for record in caplog.get_records("call") if record.levelno > logging.INFO]
    assert capfd.readouterr().err == ""
