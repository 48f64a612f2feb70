"""Any picture in, the same kind out: depth, alpha, grey, profile, orientation; and nothing half-decoded."""

from __future__ import annotations

import io
import struct
import unittest.mock
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from snpe_srgan.errors import InputError, SnpeSrganError, UsageError
from snpe_srgan.imaging import png
from snpe_srgan.imaging.metadata import Metadata
from snpe_srgan.imaging.pictures import Picture, check_output, list_pictures, read_picture, write_picture

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = [".png", ".tif", ".webp", ".bmp"]


def pixels(rng, *shape, dtype=np.uint8) -> np.ndarray:
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def random_picture(rng, *, bits=8, alpha=False, grey=False, size=(7, 5), icc=None) -> Picture:
    dtype = {8: np.uint8, 16: np.uint16}[bits]
    rgb = np.repeat(pixels(rng, *size, 1, dtype=dtype), 3, axis=2) if grey else pixels(rng, *size, 3, dtype=dtype)
    plane = pixels(rng, *size, dtype=dtype) if alpha else None
    return Picture(rgb, alpha=plane, grey=grey, metadata=Metadata(icc_profile=icc))


def same(a: Picture, b: Picture) -> bool:
    alike = np.array_equal(a.rgb, b.rgb) and a.rgb.dtype == b.rgb.dtype and a.grey == b.grey
    if a.alpha is None or b.alpha is None:
        return alike and a.alpha is b.alpha
    return alike and np.array_equal(a.alpha, b.alpha) and a.alpha.dtype == b.alpha.dtype


def saved(tmp_path, image: Image.Image, name: str, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def plain_png16(planes: np.ndarray, *, adam7: bool = False, extra: bytes = b"") -> bytes:
    """A 16-bit PNG written by the specification without any filter, on request interlaced."""
    height, width, channels = planes.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, adam7)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [planes[y::dy, x::dx] for y, x, dy, dx in passes] if adam7 else [planes]
    rows = [b"\0" + row.astype(">u2").tobytes() for part in parts if part.size for row in part]
    data = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


# ---- what goes in comes out -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("grey", [False, True])
def test_eight_bits_survive(tmp_path, rng, suffix, alpha, grey):
    picture = random_picture(rng, alpha=alpha, grey=grey, icc=None if grey else ICC)
    assert write_picture(tmp_path / f"a{suffix}", picture) == ()
    back = read_picture(tmp_path / f"a{suffix}")
    # WebP stores grey as RGB, there is no grey in it.
    assert same(back, replace(picture, grey=grey and suffix != ".webp")) and back.metadata == picture.metadata


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (70, 3)])
def test_sixteen_bits_survive(tmp_path, rng, suffix, alpha, grey, size):
    picture = random_picture(rng, bits=16, alpha=alpha, grey=grey, size=size, icc=None if grey else ICC)
    write_picture(tmp_path / f"a{suffix}", picture)
    back = read_picture(tmp_path / f"a{suffix}")
    assert same(back, picture)
    assert back.metadata == picture.metadata


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("adam7", [False, True])
def test_sixteen_bit_png_of_any_kind_is_read(tmp_path, rng, channels, adam7):
    planes = pixels(rng, 11, 9, channels, dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(plain_png16(planes, adam7=adam7))
    picture = read_picture(tmp_path / "a.png")
    colours = planes[..., : 1 if channels < 3 else 3]
    assert np.array_equal(picture.rgb, np.broadcast_to(colours, (11, 9, 3))) and picture.grey == (channels < 3)
    assert picture.alpha is None if channels % 2 else np.array_equal(picture.alpha, planes[..., -1])


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bit_tiff_of_any_byte_order_is_read(tmp_path, rng, byteorder, compression, channels):
    import tifffile

    planes = pixels(rng, 40, 9, channels, dtype=np.uint16)
    kind = {1: "minisblack", 3: "rgb", 4: "rgb"}[channels]
    options = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    tifffile.imwrite(
        tmp_path / "a.tif",
        planes if channels > 1 else planes[..., 0],
        byteorder=byteorder,
        compression=compression,
        photometric=kind,
        rowsperstrip=16,
        **options,
    )
    picture = read_picture(tmp_path / "a.tif")
    assert np.array_equal(picture.rgb, np.broadcast_to(planes[..., :3], (40, 9, 3)))
    assert channels < 4 or np.array_equal(picture.alpha, planes[..., 3])


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 70), st.integers(1, 12), st.sampled_from([1, 2, 3, 4]), st.sampled_from([np.uint8, np.uint16]),
    st.sampled_from([1, 100, 1 << 20]), st.integers(0, 9),
)  # fmt: skip
def test_png_filters_and_bands_are_undone_by_an_independent_decoder(height, width, channels, dtype, band, seed):
    y, x = np.mgrid[:height, :width]
    smooth = (y * 700 + x * 300)[..., None] * np.arange(1, channels + 1)  # a ramp makes every filter win somewhere
    noise = np.random.default_rng(seed).integers(0, 3000, (height, width, channels))
    planes = ((smooth + noise) % 65536 >> (8 if dtype == np.uint8 else 0)).astype(dtype)
    with (
        unittest.mock.patch.object(png, "_BAND", band),
        Image.open(io.BytesIO(b"".join(png.encode(planes)))) as image,
    ):
        high = np.asarray(image).reshape(height, width, -1)  # of 16 bits Pillow keeps all in grey, else the high byte
    if channels == 1 or (channels, dtype) == (2, np.uint8):
        assert np.array_equal(high, planes)
    else:
        kept = [0, 0, 0, 1] if channels == 2 else list(range(channels))
        assert np.array_equal(high, planes[..., kept] >> (8 if dtype == np.uint16 else 0))


def test_sixteen_bit_png_with_one_transparent_colour(tmp_path, rng):
    planes = pixels(rng, 4, 4, 3, dtype=np.uint16)
    key = chunk(b"tRNS", struct.pack(">HHH", *planes[1, 2].tolist()))
    (tmp_path / "a.png").write_bytes(plain_png16(planes, extra=key))
    alpha = read_picture(tmp_path / "a.png").alpha
    assert alpha[1, 2] == 0 and (alpha == 65535).sum() == 15


def test_sixteen_bit_pgm_is_read(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 65535\n" + struct.pack(">HH", 258, 65535))
    assert read_picture(tmp_path / "a.pgm").rgb[0, :, 0].tolist() == [258, 65535]


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    picture = read_picture(saved(tmp_path, image, "a.png", transparency=0))
    assert picture.rgb.tolist() == [[[10, 20, 30], [200, 100, 50]]] and picture.alpha.tolist() == [[0, 255]]
    assert read_picture(saved(tmp_path, image, "b.png")).alpha is None


def test_black_and_white(tmp_path):
    picture = read_picture(saved(tmp_path, Image.fromarray(np.eye(3, dtype=bool)), "a.png"))
    assert picture.grey and np.array_equal(picture.rgb[..., 0], np.eye(3) * 255)


def test_grey_is_written_grey(tmp_path, rng):
    write_picture(tmp_path / "a.jpg", random_picture(rng, grey=True))
    assert Image.open(tmp_path / "a.jpg").mode == "L" and read_picture(tmp_path / "a.jpg").grey


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_exif_orientation_is_applied_once(tmp_path, orientation, name):
    stored = np.kron(np.arange(6).reshape(2, 3) * 40, np.ones((16, 16))).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(stored), name, exif=exif)
    turns = {2: "LEFT_RIGHT", 3: "180", 4: "TOP_BOTTOM", 5: "TRANSPOSE", 6: "270", 7: "TRANSVERSE", 8: "90"}
    method = next((m for m in Image.Transpose if m.name.endswith(turns.get(orientation, "-"))), None)
    upright = Image.fromarray(stored) if method is None else Image.fromarray(stored).transpose(method)
    picture = read_picture(path)
    np.testing.assert_allclose(picture.rgb[..., 0], np.asarray(upright), atol=2)  # JPEG
    write_picture(tmp_path / "b.png", picture)
    assert same(read_picture(tmp_path / "b.png"), picture)


def test_sixteen_bits_are_turned_too(tmp_path, rng):
    planes = pixels(rng, 4, 6, 3, dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "a.png").write_bytes(plain_png16(planes, extra=turned))
    assert np.array_equal(read_picture(tmp_path / "a.png").rgb, np.rot90(planes, -1))


def test_cmyk_becomes_rgb(tmp_path):
    path = saved(tmp_path, Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "a.jpg", quality=100)
    r, g, b = read_picture(path).rgb[8, 8].tolist()
    assert r > 245 and g < 10 and b < 10


def test_damaged_cmyk_profile_does_not_stop_the_picture(tmp_path):
    path = saved(tmp_path, Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "a.jpg", icc_profile=b"not a profile")
    picture = read_picture(path)
    assert picture.rgb[8, 8, 0] > 240 and picture.metadata.icc_profile is None


def test_multi_picture_jpeg_is_its_first_frame(tmp_path):
    first, preview = Image.new("RGB", (16, 8), "red"), Image.new("RGB", (4, 2), "blue")
    path = saved(tmp_path, first, "a.jpg", format="MPO", save_all=True, append_images=[preview])
    assert read_picture(path).rgb.shape == (8, 16, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (37, 1)])
@pytest.mark.parametrize("suffix", [*LOSSLESS, ".jpg"])
def test_tiny_pictures(tmp_path, rng, size, suffix):
    picture = random_picture(rng, size=size)
    write_picture(tmp_path / f"a{suffix}", picture)
    back = read_picture(tmp_path / f"a{suffix}")
    assert back.rgb.shape == (*size, 3) and (suffix == ".jpg" or same(back, picture))


# ---- what a format cannot hold ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_transparency_is_never_flattened_silently(tmp_path, rng, suffix):
    with pytest.raises(InputError, match="no transparency"):
        write_picture(tmp_path / f"a{suffix}", random_picture(rng, alpha=True))
    opaque = replace(random_picture(rng), alpha=np.full((7, 5), 255, np.uint8))
    write_picture(tmp_path / f"a{suffix}", opaque)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp"])
def test_lost_bits_are_told(tmp_path, rng, suffix):
    (note,) = write_picture(tmp_path / f"a{suffix}", random_picture(rng, bits=16))
    assert "8 bits" in note and read_picture(tmp_path / f"a{suffix}").bits == 8


def test_sides_beyond_the_format_are_refused_before_work(rng):
    with pytest.raises(InputError, match="16383"):
        check_output("a.webp", random_picture(rng, size=(1, 5000)), scale=4)
    assert check_output("a.png", random_picture(rng, size=(1, 5000)), scale=4) == ()


@pytest.mark.parametrize("name", ["a.pgn", "a", "a.gif"])
def test_unknown_output_kind_is_a_usage_error(tmp_path, rng, name):
    with pytest.raises(UsageError):
        write_picture(tmp_path / name, random_picture(rng))


def test_nothing_is_overwritten_unasked(tmp_path, rng):
    write_picture(tmp_path / "a.png", random_picture(rng))
    with pytest.raises(InputError, match="exists"):
        write_picture(tmp_path / "a.png", random_picture(rng))
    write_picture(tmp_path / "a.png", random_picture(rng), overwrite=True)


def test_failed_encoding_leaves_nothing(tmp_path, rng):
    with pytest.raises(SnpeSrganError):
        write_picture(tmp_path / "a.webp", replace(random_picture(rng), rgb=np.zeros((1, 20000, 3), np.uint8)))
    assert list(tmp_path.iterdir()) == []


# ---- bad files --------------------------------------------------------------------------------------------------


def encoded(rng, kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "PNG16":
        return plain_png16(pixels(rng, 64, 64, 3, dtype=np.uint16))
    image = Image.fromarray(pixels(rng, 64, 64, 3))
    options = {"TIFF": {"compression": "tiff_lzw"}, "PJPEG": {"progressive": True}}.get(kind, {})
    image.save(buffer, {"PJPEG": "JPEG"}.get(kind, kind), **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "PNG16", "JPEG", "PJPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "TGA"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.95])
def test_truncated_pictures_are_errors(tmp_path, rng, kind, kept):
    data = encoded(rng, kind)
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    read_picture(path)
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError) as caught:
        read_picture(path)
    assert "a.bin" in caught.value.where and caught.value.hint


@pytest.mark.parametrize("kind", ["PNG", "PNG16", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "TGA"])
def test_random_damage_is_an_error_or_a_whole_picture(tmp_path, rng, kind):
    data, path = encoded(rng, kind), tmp_path / "a.bin"
    for _ in range(25):
        damaged = bytearray(data)
        for place in rng.integers(0, min(len(data), 600), 4):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            picture = read_picture(path, max_pixels=10_000_000)
        except InputError as error:
            assert "a.bin" in error.where
        else:
            assert picture.rgb.size


@pytest.mark.parametrize("data", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_files_that_are_no_pictures(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_picture(tmp_path / "a.png")
    assert "a.png" in caught.value.where and caught.value.hint


def test_missing_picture_and_folder(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_picture(tmp_path / "a.png")
    with pytest.raises(InputError, match="folder"):
        read_picture(tmp_path)


def test_decompression_bomb_is_refused_by_its_header(tmp_path):
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9999)))
    (tmp_path / "a.png").write_bytes(bomb)
    with pytest.raises(InputError, match="limit of 250 megapixels"):
        read_picture(tmp_path / "a.png")


def test_limit_can_be_set(tmp_path, rng):
    write_picture(tmp_path / "a.png", random_picture(rng))
    with pytest.raises(InputError, match="megapixels"):
        read_picture(tmp_path / "a.png", max_pixels=34)
    read_picture(tmp_path / "a.png", max_pixels=35)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_animations_and_pages_give_their_first_picture_and_say_so(tmp_path, rng, name):
    frames = [Image.fromarray(np.full((8, 9, 3), level, np.uint8)) for level in (40, 90, 200)]
    lossless = {"lossless": True} if name == "a.webp" else {}
    picture = read_picture(saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **lossless))
    assert (picture.rgb == 40).all() and picture.rgb.shape == (8, 9, 3)
    assert any("first" in remark for remark in picture.remarks)


def test_alpha_must_fit():
    with pytest.raises(InputError, match="alpha"):
        Picture(np.zeros((4, 4, 3), np.uint8), alpha=np.zeros((4, 5), np.uint8))
    with pytest.raises(InputError, match="uint8"):
        Picture(np.zeros((4, 4, 3), np.float32))


# ---- lists ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, rng):
    for name in ("10.png", "9.png", "b.JPG", "A2.png", "sub/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels(rng, 4, 4, 3)).save(tmp_path / name)
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    return tmp_path


def names(paths) -> list[str]:
    return [path.name for path in paths]


def test_lists_are_naturally_sorted(folder):
    assert names(list_pictures(folder)) == ["9.png", "10.png", "A2.png", "b.JPG"]
    assert names(list_pictures(f"{folder}/*.png")) == ["9.png", "10.png", "A2.png"]
    assert len(list_pictures(f"{folder}/**/*")) == 5
    assert names(list_pictures(folder / "notes.txt")) == ["notes.txt"]


def test_missing_and_empty_lists_are_errors(folder):
    (folder / "empty").mkdir()
    for wrong in (folder / "empty", f"{folder}/*.bmp", folder / "nowhere" / "x"):
        with pytest.raises(InputError):
            list_pictures(wrong)
    with pytest.raises(InputError) as caught:
        list_pictures(folder / "9.pgn")
    assert "9.png" in caught.value.hint


def test_an_empty_name_is_not_the_current_folder():
    with pytest.raises(InputError, match="is empty"):
        list_pictures("")
