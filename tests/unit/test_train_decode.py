"""Image files as cameras, microscopes and scanners write them: every pixel as a viewer shows it, or refused."""

import hashlib
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hadnas.errors import DataError
from hadnas.train.data import files, images
from hadnas.train.data.decode import Decoder, decoded, decoder, headers
from hadnas.train.data.spec import load_data

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (16, 24, 3), dtype=np.uint8)


def png(kind: int, channels: int, depth: int = 16, claimed: int = 16) -> bytes:
    """A PNG of colour type `kind` with 16 x 16 black pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(16 * bytes(1 + 2 * channels * depth))
    head = struct.pack(">IIBBBBB", claimed, claimed, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff(channels: int, depth: int, photometric: int, extra: int | None = None) -> bytes:
    """An uncompressed TIFF of 16 x 16 pixels, black."""
    size = 16 * 16 * channels * depth // 8
    tags: dict[int, tuple[int, ...]] = {
        256: (16,),
        257: (16,),
        258: (depth,) * channels,
        259: (1,),
        262: (photometric,),
    }
    tags |= {273: (500,), 277: (channels,), 278: (16,), 279: (size,)} | ({338: (extra,)} if extra is not None else {})
    fields, beyond = b"", b""
    for tag, values in sorted(tags.items()):
        data = struct.pack(f"<{len(values)}H", *values)
        if len(data) > 4:
            data, beyond = struct.pack("<I", 300 + len(beyond)), beyond + data
        fields += struct.pack("<HHI", tag, 3, len(values)) + data.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + fields + bytes(4)
    return (head.ljust(300, b"\0") + beyond).ljust(500, b"\0") + bytes(size)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("grey.tif", tiff(1, 16, 1), "image mode 'I;16'"),
        ("colour.tif", tiff(3, 16, 2), "16 bits"),
        ("colour_alpha.tif", tiff(4, 16, 2, extra=2), "16 bits"),
        ("cmyk.tif", tiff(4, 16, 5), "16 bits"),
        ("near_infrared.tif", tiff(4, 8, 2, extra=0), "4 channels"),
        ("colour.ppm", b"P6 16 16 4095\n" + bytes(16 * 16 * 6), "16 bits"),
        ("plain.ppm", b"P3 2 1 65535\n1 2 3 4 5 60000\n", "16 bits"),
    ],
)
def test_what_pillow_would_cut_off_is_refused(name: str, content: bytes, found: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"^{found}.*; 8-bit grey or colour.*`magick"):
        decoder_of(tmp_path / name)


def decoder_of(path: Path, size: int | None = None) -> Decoder:
    (head,) = headers([path])
    if isinstance(head, DataError):
        raise head
    return decoder([head], size)


def read(path: Path, size: int | None = None) -> np.ndarray:
    """Pixels (H, W) of a grey image, (H, W, 3) of a coloured one."""
    pixels = decoder_of(path, size)(path)
    assert pixels.shape == decoder_of(path, size).shape
    return np.asarray(pixels.permute(1, 2, 0)).squeeze()


def deep_png(kind: int, values: np.ndarray, transparent: tuple[int, ...] = ()) -> bytes:
    """A PNG of colour type `kind` with 16-bit `values` (H, W, C)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    keyed = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)) if transparent else b""
    parts = chunk(b"IHDR", head), keyed, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_of_sixteen_bits_of_a_png_the_upper_eight_are_read(kind: int, channels: int, tmp_path: Path) -> None:
    """8-bit values spread over 16 bits, as the specification asks for, come back as they were."""
    values = RANDOM.integers(0, 256, (16, 24, channels)) * 257
    if kind in (4, 6):
        values[..., -1] = 65535  # opaque
    path = tmp_path / "x.png"
    path.write_bytes(deep_png(kind, values))
    colours = values if kind in (0, 2) else values[..., :-1]
    seen = read(path).reshape(16, 24, -1)
    assert np.array_equal(seen, np.broadcast_to(colours // 257, seen.shape))
    assert decoder_of(path).rule.endswith("upper 8 bits")
    colours[...] = RANDOM.integers(0, 65536, colours.shape)
    path.write_bytes(deep_png(kind, values))
    assert np.array_equal(read(path).reshape(16, 24, -1), np.broadcast_to(colours >> 8, seen.shape))


def test_sixteen_bits_that_would_be_black_or_half_transparent(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(deep_png(0, np.full((4, 4, 1), 4095)))
    with pytest.raises(DataError, match=r"x\.png: .* 4,095 of 65,535.*`magick"):
        read(path)
    path.write_bytes(deep_png(0, np.zeros((4, 4, 1))))
    assert not read(path).any()
    path.write_bytes(deep_png(0, np.array([[[300], [299]]]) * 100, transparent=(30000,)))
    assert read(path).tolist() == [255, 29900 >> 8]
    path.write_bytes(deep_png(2, np.array([[[300, 1, 2]]]) * 100, transparent=(30000, 100, 200)))
    with pytest.raises(DataError, match="16 bits"):
        read(path)


LOSSLESS: dict[str, Any] = {"lossless": True}  # of WebP; other formats pass it over


@pytest.mark.parametrize("end", ["png", "bmp", "tif", "ppm", "webp", "gif"])
def test_eight_bits_are_read_as_they_are(end: str, tmp_path: Path) -> None:
    """Of rows longer than 255 bytes, too."""
    wide = RANDOM.integers(0, 2, (4, 300), dtype=np.uint8) * 255
    for mode in ("L", "RGB"):
        image = Image.fromarray(wide).convert(mode)
        image.save(tmp_path / f"x.{end}", **LOSSLESS)
        seen = read(tmp_path / f"x.{end}")
        assert np.array_equal(seen if seen.ndim == 2 else seen[..., 1], wide)
        assert decoder_of(tmp_path / f"x.{end}").rule == ""


T = Image.Transpose
TURNED = {2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE}
TURNED |= {6: T.ROTATE_90, 7: T.TRANSVERSE, 8: T.ROTATE_270}
"""Orientation in EXIF -> how the camera turned the picture before it wrote it down."""


@pytest.mark.parametrize("end", ["png", "webp", "tif"])
@pytest.mark.parametrize("orientation", TURNED)
def test_images_are_turned_upright(end: str, orientation: int, tmp_path: Path) -> None:
    stored = Image.fromarray(PICTURE).transpose(TURNED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"x.{end}", exif=exif, **LOSSLESS)
    assert np.array_equal(read(tmp_path / f"x.{end}"), PICTURE)
    cut = Image.fromarray(PICTURE).resize((12, 8), Image.Resampling.BILINEAR).crop((2, 0, 10, 8))
    assert np.array_equal(read(tmp_path / f"x.{end}", size=8), np.asarray(cut))


def test_folders_of_photos_held_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are 24 x 16 when upright, so none needs `size`; held and streamed give the same pixels."""
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(8):
            exif = Image.Exif()
            exif[0x0112] = orientation = 6 if name == "b" else 1
            image = Image.fromarray(PICTURE)
            image = image.transpose(TURNED[orientation]) if orientation > 1 else image
            image.save(tmp_path / name / f"{number}.jpg", exif=exif, quality=100, subsampling=0)
    held = load_data(str(tmp_path))
    monkeypatch.setattr(files, "HELD_BYTES", 0)
    streamed = load_data(str(tmp_path))
    assert held.shape == (3, 16, 24) and held.mean == streamed.mean
    for data in (held, streamed):
        (((pixels,), _),) = data.train.batches(100)
        again = pixels * torch.tensor(data.std)[:, None, None] + torch.tensor(data.mean)[:, None, None]
        assert (again * 255 - torch.from_numpy(PICTURE).permute(2, 0, 1)).abs().max() < 4  # of JPEG


def test_exif_after_the_pixels(tmp_path: Path) -> None:
    """As some programs write PNG files: where the head shows nothing of it, only `size` makes two sides equal."""
    for orientation in (3, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.png"
        Image.fromarray(PICTURE).transpose(TURNED[orientation]).save(path, exif=exif)
        content = path.read_bytes()
        start = content.index(b"eXIf") - 4
        end = start + 12 + struct.unpack(">I", content[start : start + 4])[0]
        path.write_bytes(content[:start] + content[end:-12] + content[start:end] + content[-12:])
    assert np.array_equal(read(tmp_path / "3.png"), PICTURE)
    assert read(tmp_path / "6.png", size=8).shape == (8, 8, 3)
    with pytest.raises(DataError, match=r"6\.png: 24x16 .*`size`"):
        read(tmp_path / "6.png")


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    alpha = np.array([[0, 0, 255, 128]] * 4, np.uint8)
    grey = np.array([[0, 90, 90, 0]] * 4, np.uint8)
    expected = np.array([[255, 255, 90, 127]] * 4, np.uint8)
    Image.fromarray(np.dstack([grey, alpha])).save(tmp_path / "la.png")
    Image.fromarray(np.dstack([grey, grey, grey, alpha])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([grey, grey, grey, alpha])).save(tmp_path / "rgba.webp", lossless=True, exact=True)
    for name in ("la.png", "rgba.png", "rgba.webp"):
        seen = read(tmp_path / name)
        assert np.array_equal(seen if seen.ndim == 2 else seen[..., 2], expected), name
    keyed = {"l.png": (Image.fromarray(grey), 0), "rgb.png": (Image.fromarray(grey).convert("RGB"), (0, 0, 0))}
    keyed["p.png"] = keyed["p.gif"] = Image.fromarray(grey // 90, "P"), 0
    keyed["p.png"][0].putpalette([0, 0, 0, 90, 90, 90])
    for name, (image, key) in keyed.items():
        image.save(tmp_path / name, transparency=key)
        seen = read(tmp_path / name)
        assert np.array_equal(seen if seen.ndim == 2 else seen[..., 0], np.where(grey == 0, 255, 90)), name
        assert decoder_of(tmp_path / name).rule == "upright, on white"


def test_how_streamed_images_are_read_is_part_of_their_digest(tmp_path: Path) -> None:
    """As it holds the bytes of the files and not the pixels."""
    path = tmp_path / "x.png"
    path.write_bytes(png(2, 3, depth=8))
    digests = []
    for rule in ("", "upright, on white"):
        digests.append(hashlib.sha256())
        images.StreamedImages([path], torch.tensor([0]), (3, 16, 16), decoder_of(path), rule).update(digests[-1])
    assert digests[0].digest() != digests[1].digest()


@pytest.mark.filterwarnings("default")  # of the smaller one Pillow only warns
@pytest.mark.parametrize("side", [20_000, 10_000])
def test_an_image_larger_than_pillow_reads_is_refused(side: int, tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(png(0, 1, depth=8, claimed=side))
    with pytest.raises(DataError, match=rf"{side**2} pixels"):
        decoder_of(tmp_path / "huge.png", 8)


def test_damaged_files_are_named_whatever_pillow_raises(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for end in ("png", "jpg", "tif", "webp", "gif", "bmp", "ppm"):
        path = tmp_path / f"x.{end}"
        Image.fromarray(PICTURE).save(path, exif=exif)
        whole = path.read_bytes()
        for place in RANDOM.integers(0, len(whole), 30).tolist():
            path.write_bytes(whole[:place] + bytes(RANDOM.integers(0, 256, 8, dtype=np.uint8)) + whole[place + 8 :])
            (result,) = headers([path])
            if not isinstance(result, DataError):
                (result,) = decoded([path], decoder([result], None))
            assert isinstance(result, DataError | torch.Tensor)
