"""What a header promises of memory is what decoding takes, for every kind of picture; more than the limit is refused.

The kinds are read one after the other in a child process, whose peak Linux tells (`VmHWM`).
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_pictures import chunk
from PIL import Image

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.decoded import Layout
from snpe_srgan.imaging.pictures import read_picture

WIDTH, HEIGHT = 2048, 1200
FEW = ("jpeg444", "webp-alpha", "gif-alpha", "png16-alpha", "tiff-lzw")
PEAK = """
import json, sys
from pathlib import Path
from snpe_srgan.imaging.pictures import read_picture

def status():
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) * 1024, int(lines["VmHWM"].split()[0]) * 1024

for name in sorted(p.name for p in Path("large").iterdir()):
    read_picture(Path("small") / name)  # loads the decoder's library
    layouts = []
    before = status()[0]
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    picture = read_picture(Path("large") / name, accept=layouts.append)
    del picture
    print(json.dumps([name, status()[1] - before, layouts[0].decoding]), flush=True)
"""


def _tiff(pixels: np.ndarray, **options) -> bytes:
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, metadata=None, **options)
    return buffer.getvalue()


def _pillow(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def kinds(width: int, height: int) -> dict[str, Callable[[], bytes]]:
    """One file of every kind, depth and way of packing that takes another amount of memory."""
    import imagecodecs

    smooth = np.add.outer(np.arange(height) // 8, np.arange(width) // 8)[..., None] * (3, 5, 7, 11)
    rgba = (smooth % 251).astype(np.uint8)
    rgb, grey, deep = np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 0]), rgba.astype(np.uint16)
    images = {mode: Image.fromarray(rgba).convert(mode) for mode in ("RGBA", "RGB", "L", "P", "CMYK", "1", "LA")}
    return {
        "jpeg444": lambda: _pillow(images["RGB"], "JPEG", subsampling=0),
        "jpeg-progressive": lambda: _pillow(images["RGB"], "JPEG", progressive=True, subsampling=0),
        "jpeg-grey": lambda: _pillow(images["L"], "JPEG"),
        "jpeg-cmyk": lambda: _pillow(images["CMYK"], "JPEG"),
        "jpeg12": lambda: imagecodecs.jpeg8_encode(deep[..., :3].copy() << 4, bitspersample=12),
        "webp": lambda: _pillow(images["RGB"], "WEBP", method=0),
        "webp-alpha": lambda: _pillow(images["RGBA"], "WEBP", method=0),
        "webp-lossless": lambda: _pillow(images["RGB"], "WEBP", lossless=True, method=0, quality=0),
        "webp-lossless-alpha": lambda: _pillow(images["RGBA"], "WEBP", lossless=True, method=0, quality=0),
        "webp-animated": lambda: _pillow(
            images["RGB"], "WEBP", method=0, save_all=True, append_images=[images["RGB"].transpose(1)]
        ),
        "avif420": lambda: _pillow(images["RGB"], "AVIF", speed=10),
        "avif444": lambda: _pillow(images["RGB"], "AVIF", speed=10, subsampling="4:4:4"),
        "avif-alpha": lambda: _pillow(images["RGBA"], "AVIF", speed=10),
        "avif10": lambda: imagecodecs.avif_encode(deep[..., :3].copy() << 2, bitspersample=10, speed=10),
        "gif": lambda: _pillow(images["P"], "GIF"),
        "gif-alpha": lambda: _pillow(images["P"], "GIF", transparency=3),
        "bmp": lambda: _pillow(images["RGB"], "BMP"),
        "bmp1": lambda: _pillow(images["1"], "BMP"),
        "tga-alpha": lambda: _pillow(images["RGBA"], "TGA", compression="tga_rle"),
        "jp2": lambda: _pillow(images["RGB"], "JPEG2000"),
        "jp2-alpha": lambda: _pillow(images["RGBA"], "JPEG2000"),
        "jp2-grey": lambda: _pillow(images["L"], "JPEG2000"),
        "png": lambda: _pillow(images["RGB"], "PNG", compress_level=1),
        "png-alpha": lambda: _pillow(images["RGBA"], "PNG", compress_level=1),
        "png-grey-alpha": lambda: _pillow(images["LA"], "PNG", compress_level=1),
        "png-palette": lambda: _pillow(images["P"], "PNG", compress_level=1),
        "png16": lambda: imagecodecs.png_encode(deep[..., :3].copy() * 257, level=1),
        "png16-alpha": lambda: imagecodecs.png_encode(deep * 257, level=1),
        "ppm": lambda: _pillow(images["RGB"], "PPM"),
        "pbm": lambda: _pillow(images["1"], "PPM"),
        "ppm16": lambda: b"P6 %d %d 1023\n" % (width, height) + (deep[..., :3] << 2).astype(">u2").tobytes(),
        "pgm-text": lambda: b"P2 %d %d 255\n" % (width, height) + b"\n".join(map(b"%d".__mod__, grey.ravel().tolist())),
        "pbm-text": lambda: b"P1 %d %d\n#\n" % (width, height) + (48 + (grey & 1)).tobytes(),
        "tiff": lambda: _tiff(rgb, photometric="rgb"),
        "tiff-lzw": lambda: _tiff(rgb, photometric="rgb", compression="lzw", predictor=True, rowsperstrip=32),
        "tiff-one-strip": lambda: _tiff(rgb, photometric="rgb", compression="zlib", rowsperstrip=height),
        "tiff-planar16": lambda: _tiff(np.moveaxis(deep[..., :3], -1, 0), photometric="rgb", planarconfig="separate"),
        "tiff-alpha": lambda: _tiff(rgba, photometric="rgb", extrasamples=["unassalpha"]),
        "tiff-multiplied16": lambda: _tiff(
            deep * 257, photometric="rgb", extrasamples=["assocalpha"], compression="zlib"
        ),
        "tiff-grey": lambda: _tiff(grey),
        "tiff-white": lambda: _tiff(grey, photometric="miniswhite"),
        "tiff10": lambda: _tiff(deep[..., 0].copy() << 2, photometric="minisblack", bitspersample=10),
        "tiff-float": lambda: _tiff(rgb.astype(np.float32) / 255, photometric="rgb"),
        "tiff-float64": lambda: _tiff(grey / 255.0),
        "tiff-cmyk": lambda: _tiff(rgba, photometric="separated"),
        "tiff-palette": lambda: _pillow(images["P"], "TIFF"),
        "tiff-fax": lambda: _pillow(images["1"], "TIFF", compression="group4"),
        "tiff-ycbcr": lambda: _pillow(Image.fromarray(rgb).convert("YCbCr"), "TIFF", compression="tiff_lzw"),
        "tiff-jpeg": lambda: _tiff(rgb, photometric="ycbcr", compression="jpeg", tile=(256, 256)),
    }  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="a process's peak is reset and read in Linux's /proc")
@pytest.mark.parametrize("names", [FEW, pytest.param(None, marks=pytest.mark.slow, id="every kind")])
def test_no_decoder_takes_more_than_its_header_promised(tmp_path, names):
    for folder, size in (("small", (64, 48)), ("large", (WIDTH, HEIGHT))):
        (tmp_path / folder).mkdir()
        made = kinds(*size)
        for name in names or made:
            (tmp_path / folder / name).write_bytes(made[name]())
    returned = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(1 << 17))  # at once, by glibc
    done = subprocess.run(
        [sys.executable, "-c", PEAK], cwd=tmp_path, capture_output=True, text=True, env={**os.environ, **returned}
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(rows) == len(list((tmp_path / "large").iterdir())), done.stderr
    over, under = [], []
    for name, taken, promised in rows:
        size = (tmp_path / "large" / name).stat().st_size
        if taken > promised + size:
            over.append((name, taken, promised + size))
        if "jp2" in name:
            continue  # OpenJPEG's memory follows what is in the picture
        if promised - (8 << 20) > 2.2 * max(taken - size, 1 << 20) and promised > 40e6:
            under.append((name, taken, promised + size))
    assert over == [] and under == []


def blank(folder: Path, kind: str, width: int, height: int) -> Path:
    """A header that honestly announces so many pixels, with as many bytes as a photograph of them would have."""
    path = folder / f"a.{kind}"
    if kind == "png":
        header = width.to_bytes(4, "big") + height.to_bytes(4, "big")
        filler = chunk(b"IDAT", zlib.compress(bytes(1000))) + b"".join([chunk(b"IDAT", bytes(1 << 16))] * 40)
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header + bytes([16, 6, 0, 0, 0])) + filler + chunk(b"IEND", b"")
        )
    elif kind == "tif":
        from helpers_pictures import Tiff

        tags = {
            256: ("I", [width]), 257: ("I", [height]), 258: ("H", [32] * 3), 259: ("H", [1]), 262: ("H", [2]),
            277: ("H", [3]), 278: ("I", [height]), 339: ("H", [3] * 3),
        }  # fmt: skip
        path.write_bytes(Tiff().page(tags, [bytes(1 << 20)]).bytes())
    elif kind == "ppm":
        path.write_bytes(b"P3 %d %d 65535\n" % (width, height) + bytes(1 << 20))
    else:
        data = bytearray(_pillow(Image.new("RGB", (64, 64)), "JPEG", progressive=True, subsampling=0))
        at = data.index(b"\xff\xc2")
        data[at + 5 : at + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
        path.write_bytes(bytes(data) + bytes(8 << 20))
    return path


@pytest.mark.parametrize("kind", ["png", "tif", "ppm", "jpg"])
@pytest.mark.parametrize("verb", ["run", "evaluate"])
def test_what_takes_over_the_limit_is_refused_by_name(tmp_path, kind, verb):
    path = blank(tmp_path, kind, 15500, 15500)
    words = ("run", "mobile", path, "-o", tmp_path / "b.png") if verb == "run" else ("evaluate", "bicubic", path)
    done = snpe_srgan(*words)
    assert_error(done, 1, "decoding 15500x15500 pixels", "GB of memory, over the limit of 1.8 GB", path.name)


def test_the_limit_is_the_callers(tmp_path):
    Image.new("RGB", (300, 200)).save(tmp_path / "a.bmp")
    assert read_picture(tmp_path / "a.bmp").width == 300
    with pytest.raises(InputError, match=r"over the limit of 0\.001 GB"):
        read_picture(tmp_path / "a.bmp", max_memory=1_000_000)


def test_turning_a_picture_upright_counts(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.zeros((1500, 2000), np.uint8)).save(tmp_path / "a.png", exif=exif)
    layouts: list[Layout] = []
    read_picture(tmp_path / "a.png", accept=layouts.append)
    monkeypatch.setattr("snpe_srgan.imaging.decoded._TABLES", 0)
    with pytest.raises(InputError, match=r"turning 2000x1500 pixels upright takes 0\.006 GB"):
        read_picture(tmp_path / "a.png", max_memory=5_000_000)


def test_what_is_free_decides_too(tmp_path, monkeypatch):
    Image.new("L", (8000, 8000)).save(tmp_path / "a.bmp")
    monkeypatch.setattr("snpe_srgan.imaging.reading.available_memory", lambda: 120_000_000)
    with pytest.raises(InputError, match=r"decoding 8000x8000 pixels of BMP takes 0\.14 GB of memory and 0\.12 GB are"):
        read_picture(tmp_path / "a.bmp")


def test_what_a_decoder_says_of_damage_is_a_remark_with_the_name(tmp_path):
    """libpng's warnings, which imagecodecs logs: pixels that are whole, followed by more of them."""
    header = (10).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    rows = b"".join(b"\0" + bytes(range(30)) for _ in range(12))
    packed = chunk(b"IDAT", zlib.compress(rows) + b"more")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + packed + chunk(b"IEND", b""))
    done = snpe_srgan("run", "mobile", tmp_path / "a.png", "-o", tmp_path / "b.png")
    lines = [line for line in done.err.splitlines() if "IDAT" in line]
    assert done.code == 0 and len(lines) == 1 and "a.png" in lines[0] and "damaged" in lines[0], done.err


ENCODE = """
import resource
from pathlib import Path
import numpy as np
from snpe_srgan.errors import InputError
from snpe_srgan.imaging.pictures import Picture, write_picture

def space():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8).repeat(40, 0).repeat(40, 1)
for kind in ("png", "tif", "bmp", "jpg", "webp"):
    write_picture(f"small.{kind}", Picture(pixels[:16, :16]))  # loads the encoder
for kind in ("png", "tif", "bmp", "jpg", "webp"):
    for more in (0, 2, 32, 100):
        resource.setrlimit(resource.RLIMIT_AS, (space() + (more << 20), resource.RLIM_INFINITY))
        try:
            write_picture(f"{more}.{kind}", Picture(pixels))
            print(kind, "written", flush=True)
        except InputError as error:
            assert not Path(f"{more}.{kind}").exists()
            print(kind, error.what, flush=True)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is set by what Linux says of a process")
def test_an_encoder_without_memory_says_so_and_never_waits(tmp_path):
    """Threads are not begun where there is no room for one: Python would wait for them without end."""
    done = subprocess.run([sys.executable, "-c", ENCODE], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == 20 and "webp not enough memory to encode the picture" in said
    assert {line.partition(" ")[2] for line in said} <= {"written", "not enough memory to encode the picture"}, said
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
