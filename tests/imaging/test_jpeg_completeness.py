"""Truncated JPEGs are refused, with or without an end marker. Nothing is logged."""

import re

import pytest

from luna_image_store.imaging.render import render

from .file_writers import segment
from .measure import DEFAULT, assert_refused, encoded, photo

pytestmark = pytest.mark.usefixtures("nothing_logged")

EOI = b"\xff\xd9"
COLORS = {"RGB": ("RGB", {}), "4:4:4": ("RGB", {"subsampling": "4:4:4"}), "grey": ("L", {}), "inks": ("CMYK", {})}
SIZES = {"small": (64, 48), "incomplete blocks": (61, 47), "medium": (300, 200), "large": (1400, 1000)}
CASES = [(size, colors) for size in SIZES for colors in COLORS if size != "large" or colors == "RGB"]
every_case = pytest.mark.parametrize(("size", "colors"), CASES, ids=[f"{size} {colors}" for size, colors in CASES])


def write_jpeg(size, colors, **options):
    mode, more = COLORS[colors]
    return encoded(photo(*SIZES[size], mode), quality=90, **more | options)


def with_end_marker(data):
    return data.removesuffix(b"\xff") + EOI


def scans(jpeg):
    """Split a JPEG into its header and its scans, without the end marker. Tables belong to the next scan."""
    starts = []
    for found in re.finditer(rb"\xff\xda", jpeg):
        start = found.start()
        while (table := jpeg.rfind(b"\xff\xc4", starts[-1] + 2 if starts else 2, start)) >= 0 and (
            table + 2 + int.from_bytes(jpeg[table + 2 : table + 4]) == start
        ):
            start = table
        starts.append(start)
    return [jpeg[start:end] for start, end in zip([0, *starts], [*starts, len(jpeg) - 2], strict=True)]


def data_start(scan):
    head = scan.index(b"\xff\xda")
    return head + 2 + int.from_bytes(scan[head + 2 : head + 4])


@every_case
@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}, {"optimize": True}], ids=["plain", "restarts", "optimized"])
def test_truncated_sequential_jpeg_is_refused(size, colors, options):
    """More than the last block is missing."""
    jpeg = write_jpeg(size, colors, **options)
    render(jpeg, DEFAULT)
    start = data_start(jpeg)
    for share in (0, 0.01, 0.3, 0.6, 0.8):
        remaining = jpeg[: start + int((len(jpeg) - start) * share)]
        assert_refused(with_end_marker(remaining))
        assert_refused(remaining)
        assert_refused(with_end_marker(remaining) + jpeg)


@every_case
def test_progressive_jpeg_truncated_in_first_scan_is_refused(size, colors):
    header, first, *others = scans(write_jpeg(size, colors, progressive=True))
    render(b"".join([header, first, *others]) + EOI, DEFAULT)
    start = data_start(first)
    for share in (0, 0.3, 0.8):
        remaining = first[: start + int((len(first) - start) * share)]
        assert_refused(with_end_marker(header + remaining))


@pytest.mark.xfail(strict=True, reason="if no scan is missing, the check decodes only the last pixel")
@pytest.mark.parametrize("number", [3, -1], ids=["fourth", "last"])
@pytest.mark.parametrize("size", ["small", "large"])
def test_progressive_jpeg_with_one_truncated_scan_is_refused(size, number):
    header, *parts = scans(write_jpeg(size, "RGB", progressive=True))
    start = data_start(parts[number])
    parts[number] = parts[number][: start + (len(parts[number]) - start) // 3].removesuffix(b"\xff")
    assert_refused(header + b"".join(parts) + EOI)


@every_case
def test_progressive_jpeg_truncated_in_later_scan_is_refused(size, colors):
    """Most of the scan is missing, and all later scans."""
    header, *parts = scans(write_jpeg(size, colors, progressive=True))
    for number in {1, len(parts) // 2, len(parts) - 2}:
        start = data_start(parts[number])
        remaining = header + b"".join(parts[:number]) + parts[number][: start + (len(parts[number]) - start) // 3]
        assert_refused(with_end_marker(remaining))


@pytest.mark.parametrize("colors", ["RGB", "inks"])
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_jpeg_component_without_scan_is_refused(colors, missing):
    """The other components have scans."""
    header, *parts = scans(write_jpeg("small", colors, progressive=True))
    identifier = header[header.index(b"\xff\xc2") + 10 + 3 * missing]
    remaining = [part for part in parts if identifier not in components(part)]
    assert 0 < len(remaining) < len(parts)
    assert_refused(header + b"".join(remaining) + EOI)
    assert_refused(header + b"".join(part for part in parts if components(part) == bytes([identifier])) + EOI)


def components(scan):
    head = scan.index(b"\xff\xda") + 4
    return scan[head + 1 : head + 1 + 2 * scan[head] : 2]


def test_sequential_jpeg_with_one_scan_per_component():
    """If a component has no scan, or a truncated scan, the image is refused."""
    planes = [write_jpeg("small", "grey")] * 3
    header = planes[0][: planes[0].index(b"\xff\xc0")]
    frame = segment(0xC0, b"\x08\x00\x30\x00\x40\x03" + b"\1\x11\0\2\x11\0\3\x11\0")
    tables = planes[0][planes[0].index(b"\xff\xc4") : planes[0].index(b"\xff\xda")]
    data = planes[0][data_start(planes[0]) : -2]
    parts = [segment(0xDA, bytes([1, number, 0, 0, 63, 0])) + data for number in (1, 2, 3)]
    assert render(header + frame + tables + b"".join(parts) + EOI, DEFAULT).size == SIZES["small"]
    for remaining in (parts[:2], parts[:1], parts[1:], [parts[0], parts[2]]):
        assert_refused(header + frame + tables + b"".join(remaining) + EOI)
    for number in range(3):
        truncated = [with_end_marker(part[:40]).removesuffix(EOI) if place == number else part for place, part in enumerate(parts)]
        assert_refused(header + frame + tables + b"".join(truncated) + EOI)


@pytest.mark.parametrize("colors", COLORS)
@pytest.mark.parametrize("size", ["medium", "large"])
def test_jpeg_with_missing_restart_intervals_is_refused(size, colors):
    jpeg = write_jpeg(size, colors, restart_marker_rows=1)
    places = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", jpeg) if found.start() > data_start(jpeg)]
    for first, count in ((0, 1), (len(places) // 2, 3), (len(places) - 2, 1)):
        assert_refused(jpeg[: places[first]] + jpeg[places[first + count] :])


@pytest.mark.xfail(strict=True, reason="the check of the last block reads only the last pixel")
@pytest.mark.parametrize("size", [(8, 8), (16, 16), (64, 48)], ids=str)
def test_jpeg_truncated_in_last_block_is_refused(size):
    jpeg = encoded(photo(*size), quality=90)
    start = data_start(jpeg)
    assert_refused(with_end_marker(jpeg[: start + (len(jpeg) - start) // 3] if size != (64, 48) else jpeg[:-40]))
