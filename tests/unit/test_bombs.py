"""Small files that ask for boundless memory or time are refused in one sentence, at once."""

import io
import json
import re
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hadnas.errors import DataError, HadnasError
from hadnas.hosts.graft.patterns import matching
from hadnas.hosts.graft.sites import Sites, find_sites
from hadnas.library import load_arch
from hadnas.plain import from_json
from hadnas.train.data.spec import DataSpec, load_data
from tests.pictures import png_folder


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """The processor time of a test is bounded."""
    start = time.thread_time()
    yield
    assert time.thread_time() - start < 5


def packed(path: Path, **arrays: bytes) -> str:
    """An .npz file of arrays as they are in a file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)
    return str(path)


def npy(*shape: int, kind: str = "|u1") -> bytes:
    """The head of an array, without its numbers."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": kind, "fortran_order": False, "shape": shape})
    return out.getvalue()


@pytest.mark.parametrize(
    "head",
    [npy(10**6, 10**3, 10**3), npy(10**19), npy(-5, 8, 8), npy(2, 8, 8, kind="|V100000000"), npy(1, kind="|O")],
    ids=["a terabyte", "64 bits", "negative", "large items", "objects"],
)
def test_an_array_that_declares_more_than_there_is(head: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="array 'train_images' cannot be read"):
        load_data(packed(tmp_path / "x.npz", train_images=head + b"x" * 99, train_labels=npy(2) + b"\0\1"))


def test_an_array_that_grows_when_it_is_unpacked(tmp_path: Path) -> None:
    """As one of 3 GB of zeros: its sizes are those of the archive's directory, at the end."""
    path, size = tmp_path / "x.npz", len(npy(10**6)) + 10**6
    packed(path, train_images=npy(10**6) + b"\0" * 10**6, train_labels=npy(2))
    head, directory, tail = path.read_bytes().partition(b"PK\1\2")
    assert tail.count(struct.pack("<I", size)) == 1
    path.write_bytes(head + directory + tail.replace(struct.pack("<I", size), struct.pack("<I", 3 * 10**9)))
    with pytest.raises(DataError, match=r"'train_images' grows from .* bytes to 3,000,000,000"):
        load_data(str(path))


def test_an_archive_of_many_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no array 'train_images' \(found: k0, .*\.\.\.\)") as caught:
        load_data(packed(tmp_path / "x.npz", **{f"k{place}": b"" for place in range(1000)}))
    assert len(str(caught.value)) < 1000


def test_a_table_of_empty_cells(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("path,label" + "," * 20_000 + "\n" + "a,b\n" * 6_000)
    with pytest.raises(DataError, match="20,002 columns of 6,000 rows; a table has at most 100,000,000 cells"):
        load_data(str(tmp_path / "x.csv"))
    pq.write_table(pa.table({f"c{place}": pa.nulls(10**6) for place in range(101)}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="101 columns of 1,000,000 rows; a table has at most"):
        load_data(str(tmp_path / "x.parquet"))


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd", "sub/../../outside.png"])
def test_a_table_names_files_of_its_folder(name: str, tmp_path: Path) -> None:
    folder = png_folder(tmp_path / "images")
    files = [str(path.relative_to(folder)) for path in sorted(folder.glob("*/*"))]
    (folder / "x.csv").write_text("path,label\n" + "".join(f"{file},{file[:7]}\n" for file in files))
    Image.new("L", (8, 8)).save(tmp_path / "outside.png")
    (folder / "sub").mkdir()
    assert load_data(str(folder / "x.csv")).sizes["train"] > 0
    with open(folder / "x.csv", "a") as table:
        table.write(f"{name},{files[0][:7]}\n")
    with pytest.raises(DataError, match=rf"row 122: the column 'path' is '{re.escape(name)}', outside of"):
        load_data(str(folder / "x.csv"))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, pixels: bytes = b"", more: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + more + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def gif(frames: int) -> bytes:
    out = io.BytesIO()
    first, *rest = (Image.new("L", (8, 8), place % 2 * 255) for place in range(frames))
    first.save(out, "GIF", save_all=True, append_images=rest)
    return out.getvalue()


TEXT_BOMB = chunk(b"zTXt", b"k\0\0" + zlib.compress(b"\0" * 10**7))
IMAGES = {
    "65535 x 65535": (png(65535, 65535), "exceeds limit"),
    "four billion squared": (png(2**31 - 1, 2**31 - 1), "exceeds limit"),
    "a compressed text": (png(8, 8, b"\0" * 72, TEXT_BOMB), "too large"),
    "a row of pixels": (png(2 * 10**7, 1, b"\0" * (2 * 10**7 + 1)), "20000000x1 pixels are .* if resized"),
    "a profile": (png(8, 8, b"\0" * 72, TEXT_BOMB.replace(b"zTXt", b"iCCP")), "too large"),
    "a canvas of WEBP": (b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\xff" * 6, "exceeds limit|not an image"),
    "2,000 frames": (gif(2000), None),
}


@pytest.mark.parametrize(("content", "said"), IMAGES.values(), ids=IMAGES)
def test_an_image_that_needs_more_memory_than_an_image(content: bytes, said: str | None, tmp_path: Path) -> None:
    folder = png_folder(tmp_path / "images")
    (folder / "class_3" / "bomb.png").write_bytes(content)
    spec = DataSpec(source=str(folder), size=16)
    if said is not None:
        with pytest.raises(DataError, match=f"bomb.png: .*({said})"):
            load_data(spec)
        spec = spec.model_copy(update={"skip_bad": True})
    assert load_data(spec).shape[1:] == (16, 16)


def test_a_json_object_of_many_keys_one_of_them_twice() -> None:
    text = ",".join(f'"k{key}":0' for key in range(100_000))
    with pytest.raises(HadnasError, match="'k99999' occurs twice"):
        from_json(f'{{{text},"k99999":0}}')


@pytest.mark.parametrize(
    "pattern",
    [
        "{0-99999999999}",
        "*" * 150 + "z",
        "**e" * 60 + "z",
        "{,}**" * 39 + "z",
        f"{{{'1' * 180}-2}}",
        "{9-1}",
        "1" * 10**5,
    ],
)
def test_a_pattern_of_sites_with_many_readings(pattern: str) -> None:
    with pytest.raises(HadnasError, match=r"sites: .*(names no site|is not allowed)"):
        load_arch(json.dumps({"op": "timm", "model": "resnet18", "sites": {pattern: {"op": "mlp"}}}))


PARTS = st.sampled_from(["*", "**", "{1-3}", "{8-12}", "{blocks,norm}", "{attn,mlp}", "blocks", "1", ".", "mlp", "0"])


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(PARTS, min_size=1, max_size=5).map("".join))
def test_a_pattern_names_what_its_regular_expression_names(pattern: str) -> None:
    sites = SITES[0]
    words = re.sub(
        r"\{(\d+)-(\d+)\}", lambda m: "|".join(map(str, range(int(m[1]), int(m[2]) + 1))).join("()"), pattern
    )
    words = re.sub(r"\{([\w,]+)\}", lambda m: f"({m[1].replace(',', '|')})", words).replace(".", "[.]")
    words = re.sub(r"\*+", lambda m: "[^.]*" if m[0] == "*" else ".*", words)
    try:
        found = [site.path for site in matching(sites, pattern)]
    except HadnasError:
        found = []
    assert found == [path for path in sites.found if re.fullmatch(words, path)]


SITES: list[Sites] = [find_sites("vit_tiny_patch16_224")]
