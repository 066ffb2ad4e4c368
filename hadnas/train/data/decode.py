"""Decodes an image file to upright 8-bit pixels on white, grey or colour; refuses files that Pillow would truncate."""

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, SAMPLESPERPIXEL, TiffImageFile
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from hadnas.errors import DataError, at
from hadnas.train.data.images import WORKERS

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP")
"""Pillow's formats that `check_depth` can check; of several frames or pages the first is read."""

_GREY = {"1", "L", "LA"}
_COLOUR = {"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
_DEEP_GREY = {"I;16", "I"}  # of a 16-bit PNG, by the version of Pillow
_TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class Header:
    """What the header of an image file says; `extent` is (width, height) when upright.

    changed: whether decoding turns it or puts it on white
    deep: whether its channels have 16 bits, of which the upper 8 are read
    """

    extent: tuple[int, int]
    grey: bool
    changed: bool
    deep: bool


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
        with at(str(path)):
            return self.pixels(path)

    def pixels(self, path: Path) -> Tensor:
        """The pixels of a file. Raises DataError without the path."""
        try:
            with Image.open(path, formats=FORMATS) as file:
                image = upright(file, grey=self.grey)
        except DataError:
            raise
        except Exception as error:  # Pillow raises a dozen types of errors for damaged files
            raise DataError(f"image cannot be decoded ({error})") from error
        pixels: Tensor = pil_to_tensor(image if self.size is None else squared(image, self.size))
        if pixels.shape != self.shape:  # `header` does not see EXIF that follows the pixels of a PNG
            raise DataError(f"{sides_text(image.size)} pixels when upright; give `size` to resize all images")
        return pixels


def decoder(headers: Sequence[Header], size: int | None) -> Decoder:
    """The decoder of files with these headers; without `size` all must have the extent of the first."""
    grey = all(one.grey for one in headers)
    width, height = headers[0].extent if size is None else (size, size)
    changes = ("upright, on white", any(one.changed for one in headers)), ("upper 8 bits", any(o.deep for o in headers))
    return Decoder(grey, (1 if grey else 3, height, width), size, ", ".join(words for words, some in changes if some))


def decoded(files: Sequence[Path], decode: Decoder) -> Iterator[Tensor | DataError]:
    """The pixels of each file, or its error, in order; by several threads, as Pillow decodes without the GIL."""

    def attempt(path: Path) -> Tensor | DataError:
        try:
            return decode.pixels(path)
        except DataError as error:
            return error

    with warnings.catch_warnings(), ThreadPoolExecutor(max(1, WORKERS)) as pool:
        warnings.simplefilter("ignore")  # Pillow's, on damaged metadata
        yield from pool.map(attempt, files)


def headers(files: Iterable[Path]) -> Iterator[Header | DataError]:
    """The header of each file, or, for a file that is not an 8-bit image or a 16-bit PNG, its error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on damaged metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for path in files:
            try:
                yield _header(path)
            except DataError as error:
                yield error


def _header(path: Path) -> Header:
    try:
        if not S_ISREG(path.stat().st_mode):  # opening a pipe may wait forever
            raise DataError("a pipe, socket, device or folder; a regular file is needed")
        with Image.open(path, formats=FORMATS) as image:
            deep = check_depth(image)
            orientation = _orientation(image)
            extent = image.size[::-1] if orientation in _TRANSPOSED else image.size
            return Header(extent, is_grey(image), orientation != 1 or image.has_transparency_data, deep)
    except DataError:
        raise
    except FileNotFoundError:
        link = f"a link to {path.readlink()}, which" if path.is_symlink() else "the file"
        raise DataError(f"{link} does not exist") from None
    except UnidentifiedImageError:
        raise DataError(f"not an image of the formats {', '.join(FORMATS)}") from None
    except Exception as error:
        raise DataError(f"not an image ({error})") from error


def check_depth(image: Image.Image) -> bool:
    """Whether an image is a PNG of 16 bits, of which the upper 8 are read.

    A PNG spreads its values over all 16 bits, by its specification. Raises DataError for any other image that Pillow
    would truncate, or that is neither grey nor colour: Pillow silently reads 16-bit colour as 8-bit, and four of five
    channels.
    """
    if image.format == "PNG" and isinstance(image, ImageFile):
        deep = any(isinstance(tile.args, str) and ";16" in tile.args for tile in image.tile)
        if deep and (image.mode in _DEEP_GREY or "transparency" not in image.info):
            return True
    if image.mode not in _GREY | _COLOUR:
        raise DataError(f"image mode {image.mode!r}; {_ALLOWED}")
    bits, channels = 8, len(image.getbands())
    if isinstance(image, TiffImageFile):
        bits = max(image.tag_v2.get(BITSPERSAMPLE, (1,)))
        channels = image.tag_v2.get(SAMPLESPERPIXEL, channels)
    elif isinstance(image, ImageFile) and image.format in ("PNG", "PPM"):
        for *_, args in image.tile:  # "RGB;16B" of a PNG; ("RGB", 4095), with the largest value, of a PPM
            if ";16" in args if isinstance(args, str) else args and args[-1] > 255:
                bits = 16
    if bits > 8:
        raise DataError(f"{bits} bits of each channel; {_ALLOWED}")
    if channels > len(image.getbands()):
        raise DataError(f"{channels} channels; {_ALLOWED}")
    return False


_ALLOWED = (
    "8-bit grey or colour, or a 16-bit PNG, is allowed: convert with `magick FILE -depth 8 FILE`, or give the images "
    "as uint8 (N, H, W, C) in an .npz file"
)


def is_grey(image: Image.Image) -> bool:
    """Whether the mode of an image has no colour."""
    return image.mode in _GREY | _DEEP_GREY


def upright(image: Image.Image, *, grey: bool) -> Image.Image:
    """The image in mode L or RGB, upright by its EXIF orientation, transparent pixels on white."""
    turned = ImageOps.exif_transpose(image)
    if turned.mode in _DEEP_GREY:
        turned = _upper_bits(turned)
    if turned.has_transparency_data:
        layer = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return turned.convert("L" if grey else "RGB")


def _upper_bits(image: Image.Image) -> Image.Image:
    """A 16-bit grey image in 8 bits, its transparent value as white.

    Raises DataError if it uses the lower 12 bits only, against the specification: it would be nearly black.
    """
    values = np.asarray(image).astype(np.int64)
    if 0 < values.max() < 4096:
        raise DataError(
            f"the largest of its 16-bit values is {values.max():,} of 65,535, so its upper 8 bits are nearly black; "
            "scale all images by one factor first, as `magick FILE -evaluate multiply 16 FILE` does"
        )
    upper = (values >> 8).astype(np.uint8)
    if "transparency" in image.info:
        upper[values == image.info["transparency"]] = 255
    return Image.fromarray(upper)


def squared(image: Image.Image, size: int) -> Image.Image:
    """The image resized bilinearly so that its shorter side is `size`, then cropped to the centre of the longer."""
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    if width * height > max(Image.MAX_IMAGE_PIXELS or math.inf, 16 * size * size):  # of a line of pixels
        raise DataError(f"{sides_text(image.size)} pixels are {sides_text((width, height))} if resized; crop it first")
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


def sides_text(size: tuple[int, int]) -> str:
    """`640x480` for (width, height)."""
    return f"{size[0]}x{size[1]}"
