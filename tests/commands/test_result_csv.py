import os

import pytest

from luna_image_store.commands.import_.result_csv import ImportRow, continued
from luna_image_store.settings import SettingsError

ID = "141d2706-8baf-433b-82eb-8c7fada847da"
NAMES = ("a.jpg", 'with, "quotes"\r\nand lines.jpg', "schön.jpg", os.fsdecode(b"\xff\xfe.jpg"), "last.jpg")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "table.csv"


@pytest.fixture
def whole(path):
    with continued(str(path), "pictures") as table:
        table.add([ImportRow(name, "pictures", ID) for name in NAMES])
    return path.read_bytes()


def done(path, bucket="pictures"):
    with continued(str(path), bucket) as table:
        return table.done


def test_files_that_have_an_id_are_done(whole, path):
    assert done(path) == set(NAMES)
    assert path.read_bytes() == whole


def test_failures_are_left_out_when_it_goes_on(path):
    with continued(str(path), "pictures") as table:
        table.add([ImportRow("bad.jpg", "pictures", "", "18002", "not a picture"), ImportRow("good.jpg", "pictures", ID)])
    assert done(path) == {"good.jpg"}
    assert b"bad.jpg" not in path.read_bytes()


def test_wherever_it_was_cut_off_each_whole_row_counts_and_no_other(whole, path):
    names = [*NAMES]
    for length in reversed(range(len(whole))):
        path.write_bytes(whole[:length])
        try:
            found = done(path)
        except SettingsError:  # within the header
            assert length < len(b"file,bucket,image_id,error_code,error")
            continue
        assert found in (set(names), set(names[:-1]))
        names = [name for name in names if name in found]
    assert names == []


def test_a_table_is_never_less_than_it_was_while_it_is_written_anew(whole, path):
    with continued(str(path), "pictures"):
        assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0", b"a,b,c\r\n", b"x" * 200_000])
def test_a_file_that_is_no_table_is_refused_and_left_as_it_is(path, content):
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"table\.csv"):
        done(path)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_the_table_of_another_bucket_is_refused(whole, path):
    with pytest.raises(SettingsError, match="into bucket pictures"):
        done(path, "others")
    assert path.read_bytes() == whole


def test_a_place_that_can_not_be_written_is_named():
    with pytest.raises(SettingsError, match=r"/dev/null/table\.csv"):
        done("/dev/null/table.csv")
