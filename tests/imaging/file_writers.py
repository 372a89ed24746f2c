"""Writers of image files that Pillow cannot write."""

import struct
import zlib

CLEAR, END = 256, 257


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(size, depth, color, rows, *extra, interlaced=False):
    """Write a PNG of packed rows; `extra` are chunks before the pixels."""
    header = struct.pack(">IIBBBBB", *size, depth, color, 0, 0, interlaced)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = (chunk(b"IHDR", header), *extra, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def adam7(width, height, pixel, depth):
    """Yield the rows of the seven passes. `pixel` returns the pixel at x and y, of `depth` bits."""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        if x0 < width:
            for y in range(y0, height, dy):
                yield packed([pixel(x, y) for x in range(x0, width, dx)], depth)


def packed(samples, depth):
    """Pack samples of `depth` bits into a row, the first in the highest bits."""
    bits = "".join(f"{sample:0{depth}b}" for sample in samples)
    return int(bits + "0" * (-len(bits) % 8), 2).to_bytes((len(bits) + 7) // 8)


def bmp(size, depth, rows, palette=b"", compression=0, masks=b""):
    """Write a BMP; `rows` are the encoded bytes, or packed rows in the order of the file. A negative height is top-down."""
    pixels = rows if isinstance(rows, bytes) else b"".join(row + bytes(-len(row) % 4) for row in rows)
    start = 54 + len(masks) + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, *size, 1, depth, compression, len(pixels), 2835, 2835, len(palette) // 4, 0)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + masks + palette + pixels


def gif(screen, *frames, palette=b"", extra=b""):
    """Write a GIF of frames from `frame`."""
    flags = 0x80 | 0x70 | 7 if palette else 0x70
    header = b"GIF89a" + struct.pack("<HHBBB", *screen, flags, 0, 0)
    return header + palette.ljust(768 * bool(palette), b"\0") + extra + b"".join(frames) + b";"


def frame(box, indexes, palette=b"", interlaced=False, transparent=None):
    """Write a frame at (left, top, width, height) from its indexes, row by row. Its LZW codes have a fixed width."""
    control = b"" if transparent is None else b"!\xf9\x04" + struct.pack("<BHBB", 1, 10, transparent, 0)
    flags = (0x80 | 7 if palette else 0) | 0x40 * interlaced
    descriptor = b"," + struct.pack("<HHHHB", *box, flags) + palette.ljust(768 * bool(palette), b"\0")
    rows = [indexes[start : start + box[2]] for start in range(0, len(indexes), box[2])]
    if interlaced:
        rows = rows[::8] + rows[4::8] + rows[2::4] + rows[1::2]
    codes = []
    for place, index in enumerate(b"".join(rows)):
        codes += [CLEAR, index] if place % 250 == 0 else [index]
    bits = sum(code << 9 * place for place, code in enumerate([*codes, END]))
    data = bits.to_bytes(9 * (len(codes) + 1) // 8 + 1, "little")
    blocks = (data[start : start + 255] for start in range(0, len(data), 255))
    return control + descriptor + b"\x08" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def tiff(tags, *strips, order="<", tiles=False):
    """Write a TIFF of one page; `tags` are {number: (type, values)}, of types 1 byte, 3 short, 4 long, 7 bytes."""
    offset, offsets = 8, []
    for strip in strips:
        offsets.append(offset)
        offset += len(strip)
    offsets_tag, lengths_tag = (324, 325) if tiles else (273, 279)
    tags = tags | {offsets_tag: (4, offsets), lengths_tag: (4, [len(strip) for strip in strips])}
    entries, values, after = b"", b"", offset + offset % 2 + 2 + 12 * len(tags) + 4
    for tag, (kind, numbers) in sorted(tags.items()):
        data = bytes(numbers) if kind in (1, 7) else struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(f"{order}I", after + len(values))
        values += data + bytes(len(data) % 2) if len(data) > 4 else b""
        entries += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", offset + offset % 2)
    pages = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    return head + b"".join(strips) + bytes(offset % 2) + pages + values


def segment(marker, body):
    """Write a segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def lzw(symbols, bits, early=0, most_significant_first=False, end=True):
    """Encode symbols of `bits` bits by LZW. For a TIFF, codes grow `early`, and start at the most significant bit."""
    clear, table, codes = 1 << bits, {}, [(1 << bits, bits + 1)]
    code, width, following = None, bits + 1, (1 << bits) + 2
    for symbol in symbols:
        if (code, symbol) in table or code is None:
            code = table.get((code, symbol), symbol)
            continue
        codes.append((code, width))
        table[code, symbol], code, following = following, symbol, following + 1
        width = min(12, max(width, (following - 1 + early).bit_length()))
        if following == 4094:
            codes.append((clear, width))
            table, width, following = {}, bits + 1, clear + 2
    codes += [(code, width)] if code is not None else []
    codes += [(clear + 1, min(12, max(width, (following + early).bit_length())))] if end else []
    if most_significant_first:
        digits = "".join(f"{code:0{width}b}" for code, width in codes)
        return int(digits + "0" * (-len(digits) % 8), 2).to_bytes((len(digits) + 7) // 8)
    digits = "".join(f"{code:0{width}b}" for code, width in reversed(codes))
    return int(digits, 2).to_bytes((len(digits) + 7) // 8, "little")


def pack_bits(data):
    """Encode bytes by PackBits: runs of three or more bytes, and literals."""
    packed_data, literal, place = bytearray(), bytearray(), 0

    def flush():
        for start in range(0, len(literal), 128):
            packed_data.extend(bytes([len(literal[start : start + 128]) - 1]) + literal[start : start + 128])
        literal.clear()

    while place < len(data):
        length = 1
        while length < 128 and data[place : place + 1] == data[place + length : place + length + 1]:
            length += 1
        if length > 2:
            flush()
            packed_data += bytes([257 - length, data[place]])
        else:
            literal.extend(data[place : place + length])
        place += length
    flush()
    return bytes(packed_data)


def change_tag(data, tag, *, number=None, kind=None, count=None, value=None):
    """Change the entry of a tag in the first directory of a little-endian TIFF."""
    changed, (start,) = bytearray(data), struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    place = next(at for at in range(start + 2, start + 2 + 12 * entries, 12) if struct.unpack_from("<H", data, at)[0] == tag)
    for form, offset, new in (("<H", 0, number), ("<H", 2, kind), ("<I", 4, count), ("<I", 8, value)):
        if new is not None:
            struct.pack_into(form, changed, place + offset, new)
    return bytes(changed)
