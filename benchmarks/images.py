"""The images for the measurements, from photographs in scikit-image and scikit-learn."""

from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageOps


def write_images(packages: Path, folder: Path) -> dict[str, Path]:
    """Write the images to a directory, and return their files by name. `packages` has scikit-image and scikit-learn.

    The images have no color profile, because rendering alone would not apply it.
    """
    astronaut = Image.open(packages / "skimage/data/astronaut.png").convert("RGB")
    photograph = Image.open(packages / "sklearn/datasets/images/china.jpg").convert("RGB")
    contents = {
        "face": _jpeg(astronaut.crop((100, 0, 350, 250)), 25_000),
        "photo": _jpeg(photograph, 200_000),
        "full-hd": _jpeg(enlarged(photograph, (1920, 1080)), 420_000),
        "png": _png(enlarged(photograph, (1920, 1080))),
        "12mp": _jpeg(enlarged(photograph, (4000, 3000)), 4_000_000),
    }
    files = {name: folder / f"{name}.{'png' if name == 'png' else 'jpg'}" for name in contents}
    for name, content in contents.items():
        files[name].write_bytes(content)
    return files


def enlarged(photograph: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Enlarge a photograph and add noise, as in a photograph of a camera."""
    large = ImageOps.fit(photograph, size, Image.Resampling.BICUBIC)
    grain = Image.effect_noise(size, 12)
    return ImageChops.add(large, Image.merge("RGB", (grain, grain, grain)), offset=-128)


def _jpeg(image: Image.Image, size: int) -> bytes:
    """Encode with the quality that is nearest to a size in bytes."""
    encoded = []
    for quality in range(40, 100):
        target = BytesIO()
        image.save(target, "JPEG", quality=quality)
        encoded.append(target.getvalue())
    return min(encoded, key=lambda data: abs(len(data) - size))


def _png(image: Image.Image) -> bytes:
    target = BytesIO()
    image.save(target, "PNG")
    return target.getvalue()
