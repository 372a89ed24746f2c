import logging

import pytest


@pytest.fixture
def quiet(caplog, capfd):
    """A client's bad image is no event for an operator, whatever the libraries say of it."""
    yield
    assert not [record for record in caplog.get_records("call") if record.levelno > logging.INFO]
    assert capfd.readouterr().err == ""
