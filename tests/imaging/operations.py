"""Operations of a Pillow, for a process that imports another Pillow: `python operations.py`.

A request is a line of JSON (operation, mode, size, arguments) and the pixels. A response has the same form.
"""

import json
import sys
from io import BytesIO

from PIL import Image, ImageCms


def resize(image, size, box=None, gap=None):
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=gap)


def reduce(image, factors):
    return image.reduce(tuple(factors))


def convert(image, mode):
    return image.convert(mode)


def transpose(image, method):
    return image.transpose(Image.Transpose(method))


def flatten(image, color):
    canvas = Image.new("RGB", image.size, tuple(color))
    canvas.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return canvas


def to_srgb(image, profile):
    return ImageCms.profileToProfile(image, BytesIO(bytes.fromhex(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB")


def to_eight_bits(image):
    return image.convert("I").point(lambda level: level * (1 / 257) + 0.5).convert("L")


def decode(image, jpeg, scale):
    image = Image.open(BytesIO(bytes.fromhex(jpeg)))
    image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
    image.load()
    return image


OPERATIONS = {
    function.__name__: function for function in (resize, reduce, convert, transpose, flatten, to_srgb, to_eight_bits, decode)
}


def send(stream, image, *extra):
    pixels = image.tobytes()
    stream.write(json.dumps([image.mode, image.size, len(pixels), *extra]).encode() + b"\n" + pixels)
    stream.flush()


def receive(stream):
    mode, size, length, *extra = json.loads(stream.readline())
    return Image.frombytes(mode, size, stream.read(length)), extra


if __name__ == "__main__":
    while sys.stdin.buffer.peek(1):
        image, (name, arguments) = receive(sys.stdin.buffer)
        send(sys.stdout.buffer, OPERATIONS[name](image, *arguments))
