import os

import pytest

from luna_image_store.commands.import_.result_csv import ImportRow, open_result_file
from luna_image_store.settings import SettingsError

ID = "141d2706-8baf-433b-82eb-8c7fada847da"
NAMES = ("a.jpg", 'with, "quotes"\r\nand lines.jpg', "schön.jpg", os.fsdecode(b"\xff\xfe.jpg"), "last.jpg")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "result.csv"


@pytest.fixture
def complete(path):
    with open_result_file(str(path), "photos") as results:
        results.add([ImportRow(name, "photos", ID) for name in NAMES])
    return path.read_bytes()


def done(path, bucket="photos"):
    with open_result_file(str(path), bucket) as results:
        return results.done


def test_files_with_an_id_are_done(complete, path):
    assert done(path) == set(NAMES)
    assert path.read_bytes() == complete


def test_failed_rows_are_removed_when_the_import_continues(path):
    with open_result_file(str(path), "photos") as results:
        results.add([ImportRow("bad.jpg", "photos", "", "18002", "not an image"), ImportRow("good.jpg", "photos", ID)])
    assert done(path) == {"good.jpg"}
    assert b"bad.jpg" not in path.read_bytes()


def test_only_complete_rows_of_a_truncated_file_are_done(complete, path):
    names = [*NAMES]
    for length in reversed(range(len(complete))):
        path.write_bytes(complete[:length])
        try:
            names_done = done(path)
        except SettingsError:  # the header is incomplete
            assert length < len(b"file,bucket,image_id,error_code,error")
            continue
        assert names_done in (set(names), set(names[:-1]))
        names = [name for name in names if name in names_done]
    assert names == []


def test_all_rows_are_in_the_file_when_it_is_rewritten(complete, path):
    with open_result_file(str(path), "photos"):
        assert path.read_bytes() == complete


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0", b"a,b,c\r\n", b"x" * 200_000], ids=["jpeg", "other-csv", "large"])
def test_other_file_is_refused_and_not_changed(path, content):
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"result\.csv"):
        done(path)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_result_file_of_another_bucket_is_refused(complete, path):
    with pytest.raises(SettingsError, match="into bucket photos"):
        done(path, "others")
    assert path.read_bytes() == complete


def test_error_names_a_path_that_is_not_writable():
    with pytest.raises(SettingsError, match=r"/dev/null/result\.csv"):
        done("/dev/null/result.csv")
