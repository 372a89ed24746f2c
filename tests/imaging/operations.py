"""What rendering does to pixels, as single operations; run by this Pillow, and by another one: `python operations.py`.

A request is a line of JSON (operation, mode, size, arguments) followed by the pixels; so is the answer.
"""

import json
import sys
from io import BytesIO

from PIL import Image, ImageCms


def resize(picture, size, box=None, gap=None):
    return picture.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=gap)


def reduce(picture, factors):
    return picture.reduce(tuple(factors))


def convert(picture, mode):
    return picture.convert(mode)


def transpose(picture, method):
    return picture.transpose(Image.Transpose(method))


def flatten(picture, colour):
    canvas = Image.new("RGB", picture.size, tuple(colour))
    canvas.paste(picture.convert("RGB"), mask=picture.getchannel("A"))
    return canvas


def to_srgb(picture, profile):
    return ImageCms.profileToProfile(picture, BytesIO(bytes.fromhex(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB")


def to_eight_bits(picture):
    return picture.convert("I").point(lambda level: level * (1 / 257) + 0.5).convert("L")


def decode(picture, jpeg, scale):
    image = Image.open(BytesIO(bytes.fromhex(jpeg)))
    image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
    image.load()
    return image


OPERATIONS = {
    function.__name__: function for function in (resize, reduce, convert, transpose, flatten, to_srgb, to_eight_bits, decode)
}


def send(stream, picture, *what):
    pixels = picture.tobytes()
    stream.write(json.dumps([picture.mode, picture.size, len(pixels), *what]).encode() + b"\n" + pixels)
    stream.flush()


def receive(stream):
    mode, size, length, *what = json.loads(stream.readline())
    return Image.frombytes(mode, size, stream.read(length)), what


if __name__ == "__main__":
    while sys.stdin.buffer.peek(1):
        picture, (name, arguments) = receive(sys.stdin.buffer)
        send(sys.stdout.buffer, OPERATIONS[name](picture, *arguments))
