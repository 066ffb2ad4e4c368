"""Decodes an image file to upright 8-bit pixels on white, grey or colour; refuses files that Pillow would truncate."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps
from PIL.ExifTags import Base
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, SAMPLESPERPIXEL, TiffImageFile
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from hadnas.errors import DataError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP")
"""Pillow's formats that `check_depth` can check; of several frames or pages the first is read."""

_GREY = {"1", "L", "LA"}
_COLOUR = {"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
_TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class Decoder:
    """A file -> uint8 pixels (C, H, W): all grey or all colour; resized if `size` is given, else of one size.

    rule: the change to some of the files after decoding, in words; "" if none is changed
    """

    grey: bool
    shape: tuple[int, int, int]
    size: int | None
    rule: str

    def __call__(self, path: Path) -> Tensor:
        try:
            with Image.open(path, formats=FORMATS) as file:
                image = upright(file, grey=self.grey)
        except Exception as error:  # Pillow raises a dozen types of errors for damaged files
            raise DataError(f"{path}: image cannot be decoded ({error})") from error
        pixels: Tensor = pil_to_tensor(image if self.size is None else squared(image, self.size))
        if pixels.shape != self.shape:  # `decoder` does not see EXIF that follows the pixels of a PNG
            raise DataError(f"{path}: {_sides(image.size)} pixels when upright; give `size` to resize all images")
        return pixels


def decoder(files: Iterable[Path], size: int | None) -> Decoder:
    """The decoder of all `files`, from their headers.

    Raises DataError unless all are 8-bit images and, without `size`, of one size when upright.
    """
    grey, changed, first = True, False, None
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for path in files:
            try:
                with Image.open(path, formats=FORMATS) as image:
                    check_depth(image, path)
                    orientation = _orientation(image)
                    extent = image.size[::-1] if orientation in _TRANSPOSED else image.size
                    changed = changed or orientation != 1 or image.has_transparency_data
                    grey = grey and is_grey(image)
            except DataError:
                raise
            except Exception as error:
                raise DataError(f"{path}: not an image ({error})") from error
            if first is None:
                first = path, extent
            elif size is None and extent != first[1]:
                raise DataError(
                    f"{path}: {_sides(extent)} pixels, but {first[0]} has {_sides(first[1])}; give `size` to resize "
                    "them all"
                )
    assert first is not None
    width, height = first[1] if size is None else (size, size)
    return Decoder(grey, (1 if grey else 3, height, width), size, "upright, on white" if changed else "")


def check_depth(image: Image.Image, where: object) -> None:
    """Raise DataError for an image that Pillow would truncate, or that is neither grey nor colour.

    Pillow silently reads 16-bit colour as 8-bit, and four of five channels.
    """
    if image.mode not in _GREY | _COLOUR:
        raise DataError(f"{where}: image mode {image.mode!r}; {_ALLOWED}")
    bits, channels = 8, len(image.getbands())
    if isinstance(image, TiffImageFile):
        bits = max(image.tag_v2.get(BITSPERSAMPLE, (1,)))
        channels = image.tag_v2.get(SAMPLESPERPIXEL, channels)
    elif isinstance(image, ImageFile) and image.format in ("PNG", "PPM"):
        for (
            _,
            _,
            _,
            args,
        ) in image.tile:  # such as "RGB;16B" for a PNG, and ("RGB", 4095), with the largest value, for a PPM
            if ";16" in args if isinstance(args, str) else args and args[-1] > 255:
                bits = 16
    if bits > 8:
        raise DataError(f"{where}: {bits} bits of each channel; {_ALLOWED}")
    if channels > len(image.getbands()):
        raise DataError(f"{where}: {channels} channels; {_ALLOWED}")


_ALLOWED = (
    "8-bit grey or colour is allowed: convert with `magick FILE -depth 8 FILE`, or give the images as uint8 "
    "(N, H, W, C) in an .npz file"
)


def is_grey(image: Image.Image) -> bool:
    """Whether the mode of an image has no colour."""
    return image.mode in _GREY


def upright(image: Image.Image, *, grey: bool) -> Image.Image:
    """The image in mode L or RGB, upright by its EXIF orientation, transparent pixels on white."""
    turned = ImageOps.exif_transpose(image)
    if turned.has_transparency_data:
        layer = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return turned.convert("L" if grey else "RGB")


def squared(image: Image.Image, size: int) -> Image.Image:
    """The image resized bilinearly so that its shorter side is `size`, then cropped to the centre of the longer."""
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + size, top + size))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 for an upright image, and for a TIFF, which Pillow turns when it loads it."""
    if isinstance(image, TiffImageFile):
        return 1
    if image.format == "PNG" and not {"exif", "XML:com.adobe.xmp", "Raw profile type exif"} & set(image.info):
        return 1  # otherwise Pillow would decode the pixels to look for EXIF after them
    return int(image.getexif().get(Base.Orientation, 1))


def _sides(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
