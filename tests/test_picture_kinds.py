"""Every kind of picture file: a file's own tags decide, and what is not kept or not read is said by name.

Files are written here byte by byte (`helpers_pictures.py`) or by another program's encoder; what must come out is
computed apart from the readers.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers_pictures import Tiff, chunk, cmyk_profile, png, tiff, tiff_strips, tiff_tags, wanted
from PIL import Image, ImageCms

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.decoded import Layout
from snpe_srgan.imaging.kinds import READ, REFUSED, SUFFIXES, recognize
from snpe_srgan.imaging.metadata import Metadata, read_exif
from snpe_srgan.imaging.pictures import Picture, read_picture, write_picture

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def read(tmp_path, data: bytes, name: str = "a.bin", **options) -> Picture:
    (tmp_path / name).write_bytes(data)
    return read_picture(tmp_path / name, **options)


def refusal(tmp_path, data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read(tmp_path, data)
    assert "a.bin" in caught.value.where and caught.value.hint
    return caught.value.what


def numbers(rng, height: int, width: int, channels: int, bits: int) -> np.ndarray:
    values = rng.integers(0, 2**bits, (height, width, channels))
    values[0, 0], values[-1, -1] = 0, 2**bits - 1
    return values


# ---- PNG --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adam7", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_png_grey_key_of_every_depth(tmp_path, rng, bits, adam7):
    values = numbers(rng, 9, 13, 1, bits)
    key = int(values[4, 4, 0])
    picture = read(
        tmp_path, png(values, bits=bits, colour=0, before=chunk(b"tRNS", struct.pack(">H", key)), adam7=adam7)
    )
    assert picture.grey and np.array_equal(picture.rgb[..., 0], wanted(values[..., 0], bits))
    opaque = 255 if bits <= 8 else 65535
    assert np.array_equal(picture.alpha, np.where(values[..., 0] == key, 0, opaque))


@pytest.mark.parametrize("bits", [8, 16])
def test_png_rgb_key_compares_all_of_a_colour(tmp_path, rng, bits):
    values = numbers(rng, 6, 7, 3, bits)
    values[2, 3:] = [1, 2, 3]
    values[3, 3:] = [1, 2, 4]
    picture = read(tmp_path, png(values, bits=bits, colour=2, before=chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))))
    assert np.array_equal(picture.rgb, values)
    assert np.array_equal(picture.alpha == 0, (values == [1, 2, 3]).all(-1)) and (picture.alpha[2, 3:] == 0).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_png_palette_with_alpha_for_some_of_its_colours(tmp_path, rng, bits):
    colours = rng.integers(0, 256, (2**bits, 3))
    alphas = rng.integers(0, 256, 2**bits // 2)
    indices = numbers(rng, 5, 11, 1, bits)
    before = chunk(b"PLTE", colours.astype(np.uint8).tobytes()) + chunk(b"tRNS", alphas.astype(np.uint8).tobytes())
    picture = read(tmp_path, png(indices, bits=bits, colour=3, before=before))
    assert np.array_equal(picture.rgb, colours[indices[..., 0]]) and not picture.grey
    full = np.concatenate([alphas, np.full(2**bits - len(alphas), 255)])
    assert np.array_equal(picture.alpha, full[indices[..., 0]])


COLOUR = {
    b"gAMA": struct.pack(">I", 100000),
    b"cHRM": struct.pack(">8I", 31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600),
    b"cICP": bytes([9, 16, 0, 1]),
    b"mDCV": bytes(range(24)),
    b"cLLI": bytes(8),
}


@pytest.mark.parametrize("name", COLOUR)
def test_png_colour_chunks_survive_and_other_formats_say_that_they_lose_them(tmp_path, rng, name):
    data = png(numbers(rng, 4, 4, 3, 16), bits=16, colour=2, before=chunk(name, COLOUR[name]))
    picture = read(tmp_path, data)
    assert picture.metadata.colour == ((name, COLOUR[name]),) and picture.remarks == ()
    assert write_picture(tmp_path / "b.png", picture) == ()
    assert read_picture(tmp_path / "b.png").metadata == picture.metadata
    for suffix in (".tif", ".webp", ".jpg", ".bmp"):
        notes = write_picture(tmp_path / f"b{suffix}", picture)
        assert any(name.decode() in note for note in notes)


def test_what_says_srgb_is_no_loss(tmp_path, rng):
    before = chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"sRGB", b"\0")
    picture = read(tmp_path, png(numbers(rng, 4, 4, 3, 8), bits=8, colour=2, before=before))
    assert write_picture(tmp_path / "b.tif", picture) == ()


def test_png_metadata_of_any_length_does_not_stop_a_picture(tmp_path, rng):
    values = numbers(rng, 4, 4, 3, 8)
    long = bytes(range(256)) * 6000
    before = (
        chunk(b"iCCP", b"p\0\0" + zlib.compress(long))
        + chunk(b"zTXt", b"workflow\0\0" + zlib.compress(long))
        + chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(long))
        + chunk(b"tEXt", b"Comment\0" + long)
    )
    picture = read(tmp_path, png(values, bits=8, colour=2, before=before))
    assert np.array_equal(picture.rgb, values) and picture.metadata.icc_profile == long
    (remark,) = picture.remarks
    assert "workflow" in remark and "XMP" in remark and "Comment" in remark


def test_png_chunks_that_nobody_knows_are_remarked_and_control_characters_in_names_are_not_printed(tmp_path, rng):
    before = chunk(b"juNk", b"x") + chunk(b"tEXt", b"a\x1b[2Jb\0text")
    (remark,) = read(tmp_path, png(numbers(rng, 3, 3, 1, 8), bits=8, colour=0, before=before)).remarks
    assert "juNk" in remark and "\x1b" not in remark


def test_animated_png_is_its_default_picture(tmp_path, rng):
    values = numbers(rng, 3, 3, 3, 8)
    frame = chunk(b"fcTL", struct.pack(">5I2H2B", 0, 3, 3, 0, 0, 1, 1, 0, 0))
    after = frame + chunk(b"fdAT", struct.pack(">I", 1) + zlib.compress(bytes(30)))
    data = png(values, bits=8, colour=2, before=chunk(b"acTL", struct.pack(">II", 2, 0)) + frame, after=after)
    picture = read(tmp_path, data)
    assert np.array_equal(picture.rgb, values) and "animation" in picture.remarks[0]


def test_png_that_claims_more_than_it_can_hold_is_refused_before_it_is_unpacked(tmp_path):
    claim = struct.pack(">IIBBBBB", 6000, 6000, 8, 6, 0, 0, 0)
    parts = chunk(b"IHDR", claim) + chunk(b"IDAT", zlib.compress(bytes(60_000_000))) + chunk(b"IEND", b"")
    assert "cannot hold" in refusal(tmp_path, b"\x89PNG\r\n\x1a\n" + parts)


# ---- TIFF -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(("bits", "channels"), [(8, 3), (16, 1), (16, 2), (16, 3), (16, 4)])
def test_tiff_of_both_orders_sizes_and_configurations(tmp_path, rng, order, big, planar, bits, channels):
    values = numbers(rng, 7, 5, channels, bits)
    more = {"t338": ("H", [2])} if channels in (2, 4) else {}
    kind = 1 if channels < 3 else 2
    data = tiff(values, bits=bits, photometric=kind, order=order, planar=planar, big=big, **more)
    picture = read(tmp_path, data)
    colours = values[..., :1] if channels < 3 else values[..., :3]
    assert np.array_equal(picture.rgb, np.broadcast_to(colours, (7, 5, 3))) and picture.bits == bits
    assert picture.grey == (channels < 3) and picture.remarks == ()
    assert channels in (1, 3) or np.array_equal(picture.alpha, values[..., -1])


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_of_every_compression(tmp_path, rng, tiled, compression, planar):
    import tifffile

    values = numbers(rng, 40, 37, 3, 16).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", values if planar == "contig" else np.moveaxis(values, -1, 0), photometric="rgb",
        planarconfig=planar, compression=compression, predictor=compression not in ("packbits",),
        tile=(16, 16) if tiled else None, metadata=None, software=False,
    )  # fmt: skip
    picture = read_picture(tmp_path / "a.tif")
    assert np.array_equal(picture.rgb, values) and picture.remarks == ()


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 14, 16])
def test_tiff_grey_of_every_depth_and_its_negative(tmp_path, rng, bits, photometric):
    values = numbers(rng, 6, 11, 1, bits)
    picture = read(tmp_path, tiff(values, bits=bits, photometric=photometric))
    shown = values if photometric else 2**bits - 1 - values
    assert np.array_equal(picture.rgb[..., 0], wanted(shown[..., 0], bits)) and picture.grey


@pytest.mark.parametrize("bits", [10, 12])
def test_tiff_rgb_of_packed_bits(tmp_path, rng, bits):
    values = numbers(rng, 6, 11, 3, bits)
    assert np.array_equal(read(tmp_path, tiff(values, bits=bits, photometric=2)).rgb, wanted(values, bits))


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("factor", [1, 256, 257])
def test_tiff_palette_of_every_habit(tmp_path, rng, bits, factor):
    indices = numbers(rng, 5, 9, 1, bits)
    colours = rng.integers(0, 256, (2**bits, 3))
    colours[0] = 255, 200, 7
    table = ("H", (colours.T * factor).ravel().tolist())
    picture = read(tmp_path, tiff(indices, bits=bits, photometric=3, t320=table))
    assert np.array_equal(picture.rgb, colours[indices[..., 0]]) and picture.bits == 8


def test_tiff_palette_of_sixteen_bits_keeps_them(tmp_path, rng):
    indices, colours = numbers(rng, 5, 9, 1, 8), rng.integers(0, 65536, (256, 3))
    picture = read(tmp_path, tiff(indices, bits=8, photometric=3, t320=("H", colours.T.ravel().tolist())))
    assert np.array_equal(picture.rgb, colours[indices[..., 0]]) and picture.bits == 16


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", [False, True])
def test_tiff_cmyk_without_a_profile_is_the_plain_formula(tmp_path, rng, bits, planar):
    ink, white = numbers(rng, 6, 5, 4, bits), 2**bits - 1
    picture = read(tmp_path, tiff(ink, bits=bits, photometric=5, planar=planar))
    exact = (1 - ink[..., :3] / white) * (1 - ink[..., 3:] / white) * white
    assert np.abs(picture.rgb - exact).max() <= 0.5 + 1e-6 and picture.bits == bits


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["tiff", "jpeg"])
def test_cmyk_goes_through_its_own_profile(tmp_path, rng, bits, kind):
    profile, ink = cmyk_profile(), np.broadcast_to(rng.integers(0, 256, (4, 4, 1, 1, 4)), (4, 4, 8, 8, 4))
    ink = np.moveaxis(ink, 2, 1).reshape(32, 32, 4).astype(np.uint8)  # flat blocks: JPEG keeps them
    image = Image.fromarray(ink, "CMYK")
    if kind == "tiff":
        more = {"t34675": ("B", list(profile))}
        picture = read(tmp_path, tiff(ink.astype(int) * (257 if bits == 16 else 1), bits=bits, photometric=5, **more))
    else:
        picture = read(tmp_path, jpeg(image, quality=100, icc_profile=profile))
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))  # another copy of Little CMS, in 8 bits
    expected = np.asarray(ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"))
    plain = (255 - ink[..., :3].astype(float)) * (255 - ink[..., 3:]) / 255
    error = np.abs(picture.rgb / (257 if picture.bits == 16 else 1) - expected)
    assert error.mean() < 2 and np.abs(plain - expected).mean() > 10
    assert picture.metadata.icc_profile is None


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_multiplied_alpha_is_divided_out(tmp_path, rng, bits):
    white = 2**bits - 1
    alpha = numbers(rng, 16, 16, 1, bits)
    alpha[3, 3] = 0
    colours = rng.integers(0, 2**bits, (16, 16, 3))
    stored = np.round(colours * alpha / white).astype(int)
    picture = read(tmp_path, tiff(np.concatenate([stored, alpha], 2), bits=bits, photometric=2, t338=("H", [1])))
    assert np.array_equal(picture.alpha, alpha[..., 0]) and (picture.rgb[3, 3] == 0).all()
    error = np.abs(picture.rgb.astype(float) - colours)
    assert (error <= 0.5 * white / np.maximum(alpha, 1) + 0.5)[alpha[..., 0] > 0].all()


def test_tiff_channel_that_does_not_say_what_it_is_is_remarked(tmp_path, rng):
    values = numbers(rng, 4, 4, 4, 8)
    picture = read(tmp_path, tiff(values, bits=8, photometric=2, t338=("H", [0])))
    assert picture.alpha is None and np.array_equal(picture.rgb, values[..., :3])
    assert "further channel" in picture.remarks[0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_tiff_floats_from_0_to_1_are_read_with_sixteen_bits(tmp_path, rng, dtype):
    values = rng.random((5, 6, 3)).astype(dtype)
    values[0, 0, 0], values[0, 0, 1] = 0, 1
    bits = 8 * values.itemsize
    tags = tiff_tags(values, bits=bits, photometric=2, t339=("H", [3, 3, 3]))
    picture = read(tmp_path, Tiff().page(tags, [values.astype(f"<f{values.itemsize}").tobytes()]).bytes())
    assert np.abs(picture.rgb - values.astype(float) * 65535).max() <= 0.5
    assert "floats" in picture.remarks[0]


@pytest.mark.parametrize("worst", [1.5, -0.1, np.nan, np.inf])
def test_tiff_floats_of_another_range_are_refused_with_their_range(tmp_path, worst):
    values = np.full((4, 4, 3), 0.5, np.float32)
    values[2, 2, 2] = worst
    tags = tiff_tags(values, bits=32, photometric=2, t339=("H", [3, 3, 3]))
    said = refusal(tmp_path, Tiff().page(tags, [values.tobytes()]).bytes())
    assert "floats" in said and "only 0 (black) to 1 (white)" in said


@pytest.mark.parametrize(("photometric", "name"), [
    (4, "mask"), (8, "L*a*b*"), (9, "L*a*b*"), (32803, "raw sensor"), (34892, "raw"), (32845, "LogLuv"), (777, "777"),
])  # fmt: skip
def test_tiff_colours_that_are_not_read_are_refused_by_name(tmp_path, rng, photometric, name):
    assert name in refusal(tmp_path, tiff(numbers(rng, 4, 4, 3, 8), bits=8, photometric=photometric))


def test_tiff_numbers_that_are_not_read_are_refused_by_name(tmp_path, rng):
    values = numbers(rng, 4, 4, 1, 8)
    assert "signed" in refusal(tmp_path, tiff(values, bits=8, photometric=1, t339=("H", [2])))
    assert "32 bits" in refusal(tmp_path, tiff(values, bits=32, photometric=1))
    assert "inks other than" in refusal(
        tmp_path, tiff(numbers(rng, 4, 4, 4, 8), bits=8, photometric=5, t332=("H", [2]))
    )
    colours = numbers(rng, 4, 4, 3, 8)
    tags = tiff_tags(colours, bits=8, photometric=2) | {258: ("H", [5, 6, 5])}
    assert "different depths" in refusal(tmp_path, Tiff().page(tags, tiff_strips(colours, bits=8)).bytes())
    tags = tiff_tags(values, bits=8, photometric=1)
    del tags[262]
    assert "photometric" in refusal(tmp_path, Tiff().page(tags, tiff_strips(values, bits=8)).bytes())


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("tag", [{"t254": ("I", [1])}, {"t255": ("H", [2])}])
def test_tiff_thumbnail_is_passed_over_wherever_it_stands(tmp_path, rng, first, tag):
    full, small = numbers(rng, 12, 16, 3, 8), numbers(rng, 3, 4, 3, 8)
    pages = [
        (tiff_tags(full, bits=8, photometric=2), tiff_strips(full, bits=8)),
        (tiff_tags(small, bits=8, photometric=2, **tag), tiff_strips(small, bits=8)),
    ]
    file = Tiff()
    for tags, strips in reversed(pages) if first else pages:
        file.page(tags, strips)
    picture = read(tmp_path, file.bytes())
    assert np.array_equal(picture.rgb, full) and picture.remarks == ()


def test_tiff_further_pages_are_counted(tmp_path, rng):
    values = numbers(rng, 3, 4, 3, 8)
    page = tiff_tags(values, bits=8, photometric=2), tiff_strips(values, bits=8)
    assert "second page" in read(tmp_path, Tiff().page(*page).page(*page).bytes()).remarks[0]
    assert "2 further pages" in read(tmp_path, Tiff().page(*page).page(*page).page(*page).bytes()).remarks[0]


def test_tiff_tags_that_are_not_kept_are_named(tmp_path, rng):
    more = {"t700": ("B", list(b"<x/>")), "t33922": ("R", [(1, 1)] * 6)}
    (remark,) = read(tmp_path, tiff(numbers(rng, 4, 4, 3, 8), bits=8, photometric=2, **more)).remarks
    assert "XMP" in remark and "ModelTiepoint" in remark


def test_tiff_resolution_and_profile_are_kept(tmp_path, rng):
    more = {"t282": ("R", [(300, 1)]), "t283": ("R", [(150, 1)]), "t296": ("H", [2]), "t34675": ("B", list(SRGB))}
    picture = read(tmp_path, tiff(numbers(rng, 4, 4, 3, 8), bits=8, photometric=2, **more))
    assert picture.metadata == Metadata(icc_profile=SRGB, resolution=(300.0, 150.0))
    for suffix in (".tif", ".png"):
        write_picture(tmp_path / f"b{suffix}", picture)
        back = read_picture(tmp_path / f"b{suffix}").metadata
        assert back.icc_profile == SRGB and np.allclose(back.resolution, (300, 150), atol=0.02)


def test_tiff_camera_data_become_exif(tmp_path, rng):
    values = numbers(rng, 4, 4, 3, 8)

    def built(offset: int) -> bytes:
        return tiff(values, bits=8, photometric=2, t271=("s", b"Camera\0"), t34665=("I", [offset]))

    data = built(len(built(0)))
    data += struct.pack("<HHHIHHI", 1, 0x8827, 3, 1, 400, 0, 0)  # ISO 400, in a directory of its own
    picture = read(tmp_path, data)
    assert picture.remarks == ()
    write_picture(tmp_path / "b.jpg", picture)
    with Image.open(tmp_path / "b.jpg") as image:
        found = image.getexif()
        assert found[0x010F] == "Camera" and found.get_ifd(0x8769)[0x8827] == 400


def test_tiff_bits_of_reversed_order_and_a_pyramid_in_sub_directories(tmp_path, rng):
    import tifffile

    values = numbers(rng, 7, 13, 1, 1)
    tags = tiff_tags(values, bits=1, photometric=1, t266=("H", [2]))
    strips = [bytes(int(f"{byte:08b}"[::-1], 2) for byte in strip) for strip in tiff_strips(values, bits=1)]
    assert np.array_equal(read(tmp_path, Tiff().page(tags, strips).bytes()).rgb[..., 0], values[..., 0] * 255)
    full = numbers(rng, 16, 16, 3, 8).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(full, photometric="rgb", subifds=1, metadata=None, software=False)
        file.write(full[::2, ::2], photometric="rgb", subfiletype=1, metadata=None, software=False)
    picture = read_picture(tmp_path / "a.tif")
    assert np.array_equal(picture.rgb, full) and picture.remarks == ()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_tiff_ycbcr_is_turned_once(tmp_path, orientation):
    smooth = np.linspace(0, 255, 32 * 48 * 3).reshape(32, 48, 3).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(smooth).convert("YCbCr").save(tmp_path / "a.tif", exif=exif)
    turned = np.rot90(smooth, {1: 0, 3: 2, 6: -1, 8: 1}[orientation])
    assert np.abs(read_picture(tmp_path / "a.tif").rgb.astype(int) - turned).max() < 4


def ycbcr_units(values: np.ndarray, across: int, down: int) -> bytes:
    """Rows of units (TIFF 6.0, section 21) of `(h, w, 3)` Y, Cb, Cr whose sides are multiples of a block's."""
    units = b""
    for y in range(0, len(values), down):
        for x in range(0, values.shape[1], across):
            block = values[y : y + down, x : x + across].astype(np.uint8)
            units += block[..., 0].tobytes() + block[0, 0, 1:].tobytes()
    return units


@pytest.mark.parametrize("packing", [1, 5, 8, 32773])
@pytest.mark.parametrize(("across", "down"), [(1, 1), (2, 1), (2, 2), (4, 2), (None, None)])
def test_tiff_ycbcr_of_every_block_and_packing(tmp_path, rng, across, down, packing):
    """Beside another converter (Pillow's of JFIF): colours hold for a block, and the last blocks stick out."""
    import imagecodecs

    pack = {1: bytes, 5: imagecodecs.lzw_encode, 8: zlib.compress, 32773: imagecodecs.packbits_encode}[packing]
    more = {"t530": ("H", [across, down])} if across else {}  # left out, a block is 2x2
    across, down = across or 2, down or 2
    values = numbers(rng, 16, 16, 3, 8)
    values[..., 1:] = np.repeat(np.repeat(values[::down, ::across, 1:], down, axis=0), across, axis=1)
    tags = tiff_tags(values[:13, :11], bits=8, photometric=6, **more)
    kept = values[:, : -(-11 // across) * across]  # 13 rows in strips of 4: the last holds one
    heights = (4, 4, 4, down)
    strips = [kept[4 * i : 4 * i + high] for i, high in enumerate(heights)]
    data = Tiff().page(
        {**tags, 259: ("H", [packing]), 278: ("I", [4])}, [pack(ycbcr_units(s, across, down)) for s in strips]
    )
    expected = np.asarray(Image.fromarray(values[:13, :11].astype(np.uint8), "YCbCr").convert("RGB"), int)
    assert np.abs(read(tmp_path, data.bytes()).rgb - expected).max() <= 1


def test_tiff_ycbcr_of_studio_range_is_stretched(tmp_path):
    values = np.full((2, 2, 3), 128)
    values[..., 0] = [[235, 235], [16, 16]]
    more = {"t530": ("H", [1, 1]), "t532": ("R", [(n, 1) for n in (16, 235, 128, 240, 128, 240)])}
    picture = read(tmp_path, tiff(values, bits=8, photometric=6, **more))
    assert (picture.rgb[0] == 255).all() and (picture.rgb[1] == 0).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_orientation_of_sixteen_planar_bits(tmp_path, rng, orientation):
    values = numbers(rng, 4, 6, 3, 16)
    data = tiff(values, bits=16, photometric=2, planar=True, t274=("H", [orientation]))
    rows, columns = np.mgrid[:4, :6] if orientation < 5 else np.mgrid[:6, :4]
    y, x = (rows, columns) if orientation < 5 else (columns, rows)  # where a pixel of the upright picture is stored
    if orientation in (3, 4, 6, 7):
        y = 3 - y
    if orientation in (2, 3, 7, 8):
        x = 5 - x
    assert np.array_equal(read(tmp_path, data).rgb, values[y, x])


def test_tiff_ycbcr_and_fax(tmp_path, rng):
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    image = Image.fromarray(smooth)
    image.save(tmp_path / "jpeg.tif", compression="jpeg", quality=98)
    image.convert("YCbCr").save(tmp_path / "raw.tif")
    for name in ("jpeg", "raw"):
        assert np.abs(read_picture(tmp_path / f"{name}.tif").rgb.astype(int) - smooth).mean() < 3
    black = rng.random((20, 33)) < 0.3
    Image.fromarray(black).save(tmp_path / "fax.tif", compression="group4")
    import tifffile

    if 4 not in tifffile.TIFF.DECOMPRESSORS:  # the last versions for Python 3.10
        assert "CCITT_T6" in refusal(tmp_path, (tmp_path / "fax.tif").read_bytes())
        return
    assert np.array_equal(read_picture(tmp_path / "fax.tif").rgb[..., 0], black * 255)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "jpeg", "lzma", "zstd"])
@pytest.mark.parametrize("tiled", [False, True])
def test_tiff_cut_short_is_an_error(tmp_path, rng, compression, tiled):
    import tifffile

    values = numbers(rng, 64, 64, 3, 8).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="rgb", compression=compression, rowsperstrip=None if tiled else 16,
        tile=(16, 16) if tiled else None, metadata=None,
    )  # fmt: skip
    data = (tmp_path / "a.tif").read_bytes()
    for kept in (0.02, 0.5, 0.97):
        assert "damaged or cut short" in refusal(tmp_path, data[: int(len(data) * kept)])


# ---- JPEG, AVIF and others --------------------------------------------------------------------------------------


def jpeg(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def test_jpeg_ink_is_upside_down_only_where_adobe_wrote_it(tmp_path):
    data = jpeg(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), quality=100)
    assert read(tmp_path, data).rgb[8, 8].tolist()[0] > 245  # no ink where red is
    at = data.index(b"\xff\xee")
    length = struct.unpack_from(">H", data, at + 2)[0]
    plain = data[:at] + data[at + 2 + length :]
    # The stored numbers are 255, 0, 0, 255: now full cyan and full black.
    assert read(tmp_path, plain).rgb[8, 8].max() < 10


def test_jpeg_of_twelve_bits_keeps_them(tmp_path):
    import imagecodecs

    ramp = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    data = imagecodecs.jpeg8_encode(ramp, level=100, bitspersample=12)
    picture = read(tmp_path, data)
    assert picture.bits == 16 and picture.grey
    assert np.abs(picture.rgb[..., 0] / 65535 * 4095 - ramp).max() < 4


def test_jpeg_segments_that_are_not_kept_are_named(tmp_path):
    data = jpeg(Image.new("RGB", (16, 16), "red"), comment=b"hello")
    (remark,) = read(tmp_path, data[:2] + b"\xff\xed\0\x10Photoshop 3.0\0" + data[2:]).remarks
    assert "a comment" in remark and "Photoshop" in remark


@pytest.mark.parametrize(("marker", "name"), [(0xC3, "lossless"), (0xC5, "hierarchical")])
def test_jpeg_of_other_processes_is_refused_by_name(tmp_path, marker, name):
    data = jpeg(Image.new("RGB", (16, 16), "red"))
    assert name in refusal(tmp_path, data.replace(b"\xff\xc0", bytes([0xFF, marker])))


def test_avif_of_ten_bits_keeps_them_and_says_what_its_colours_are(tmp_path):
    import imagecodecs

    ramp = np.repeat(np.linspace(0, 1023, 64 * 64).reshape(64, 64, 1), 3, axis=2).astype(np.uint16)
    try:
        data = imagecodecs.avif_encode(ramp, level=100, bitspersample=10, primaries=9, transfer=16)
    except TypeError:
        pytest.skip(f"imagecodecs {imagecodecs.__version__} (Python 3.10) cannot write the colours of an AVIF")
    picture = read(tmp_path, data)
    assert picture.bits == 16 and np.abs(picture.rgb / 65535 * 1023 - ramp).max() < 4
    assert picture.metadata.colour == ((b"cICP", bytes([9, 16, 0, 1])),)


def test_bmp_with_alpha_in_its_masks(tmp_path, rng):
    values = numbers(rng, 5, 3, 4, 8).astype(np.uint8)  # R, G, B, A in the order of the masks below
    header = struct.pack("<IiiHHIIiiII", 108, 3, -5, 1, 32, 3, values.size, 2835, 2835, 0, 0)
    masks = struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000) + struct.pack("<I", 0x73524742) + bytes(48)
    data = struct.pack("<2sIHHI", b"BM", 14 + 108 + values.size, 0, 0, 14 + 108) + header + masks + values.tobytes()
    picture = read(tmp_path, data)
    assert np.array_equal(picture.rgb, values[..., :3]) and np.array_equal(picture.alpha, values[..., 3])
    assert np.allclose(picture.metadata.resolution, 72, atol=0.1)


@pytest.mark.parametrize(("compression", "masks", "pixels", "wanted"), [
    (3, (31 << 11, 63 << 5, 31), (31 << 11 | 63 << 5, 31), [[255, 255, 0], [0, 0, 255]]), (0, (), (31 << 10, 31 << 5),
    [[255, 0, 0], [0, 255, 0]]),
])  # fmt: skip
def test_bmp_of_sixteen_bits(tmp_path, compression, masks, pixels, wanted):
    offset = 14 + 40 + 4 * len(masks)
    header = struct.pack("<2sIHHI", b"BM", offset + 4, 0, 0, offset)
    header += struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, compression, 4, 0, 0, 0, 0)
    data = header + struct.pack(f"<{len(masks)}I", *masks) + struct.pack("<HH", *pixels)
    assert read(tmp_path, data).rgb.tolist() == [wanted]


@pytest.mark.parametrize("white", [1, 7, 255, 1023, 65535])
@pytest.mark.parametrize("kind", [2, 3, 5, 6])
def test_netpbm_of_every_maximum(tmp_path, rng, kind, white):
    channels = 1 if kind in (2, 5) else 3
    values = rng.integers(0, white + 1, (4, 5, channels))
    header = b"P%d\n# a remark\n5 4\n%d\n" % (kind, white)
    text = b"\n".join(b" ".join(b"%d" % v for v in row.ravel()) for row in values)
    body = text if kind < 4 else values.astype(">u2" if white > 255 else np.uint8).tobytes()
    full = 255 if white < 256 else 65535
    picture = read(tmp_path, header + body)
    exact = [(2 * int(v) * full + white) // (2 * white) for v in values.ravel()]
    assert np.array_equal(picture.rgb, np.broadcast_to(np.reshape(exact, values.shape), (4, 5, 3)))
    assert picture.grey == (channels == 1) and picture.bits == (8 if full == 255 else 16)
    assert "cut short" in refusal(tmp_path, header + body[: len(body) // 2])


@pytest.mark.parametrize("data", [b"P1\n3 2\n0 1 0\n#x\n110", b"P4 3 2\n" + bytes([0b01000000, 0b11000000])])
def test_netpbm_bitmaps_have_black_ones(tmp_path, data):
    assert read(tmp_path, data).rgb[..., 0].tolist() == [[255, 0, 255], [0, 0, 255]]


def test_netpbm_second_picture_is_remarked(tmp_path):
    one = b"P5 3 2 255\n" + bytes(6)
    assert read(tmp_path, one).remarks == () and "second" in read(tmp_path, one + one).remarks[0]


@pytest.mark.parametrize(("data", "name"), [
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"), (b"\xff\x0a12345678", "JPEG XL"), (b"8BPS\0\1", "Photoshop"),
    (b"%PDF-1.4", "PDF"), (b"<?xml version='1.0'?><svg/>", "SVG"), (b"v/1\x01", "OpenEXR"), (b"PF\n1 1\n", "float map"),
    (b"#?RADIANCE\n", "Radiance"), (b"%!PS", "PostScript"), (b"P7\nWIDTH", "arbitrary map"),
])  # fmt: skip
def test_known_kinds_that_are_not_read_are_refused_by_name(tmp_path, data, name):
    assert name in refusal(tmp_path, data)


def test_the_table_of_kinds_is_consistent(tmp_path):
    suffixes = [suffix for kind in (*READ, *REFUSED) for suffix in kind.suffixes]
    assert len(suffixes) == len(set(suffixes)) and all(s == s.lower() and s.startswith(".") for s in suffixes)
    assert {".jfif", ".jpe", ".jpeg", ".tiff", ".pgm", ".avif"} <= set(SUFFIXES)
    for format, kind in (("PNG", "PNG"), ("JPEG", "JPEG"), ("TIFF", "TIFF"), ("WEBP", "WebP"), ("BMP", "BMP"),
                         ("GIF", "GIF"), ("PPM", "Netpbm"), ("TGA", "TGA"), ("AVIF", "AVIF"), ("ICO", "ICO"),
                         ("JPEG2000", "JPEG 2000")):  # fmt: skip
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), (200, 30, 60)).save(buffer, format)
        assert recognize(buffer.getvalue()[:4096]).name == kind
        assert np.abs(read(tmp_path, buffer.getvalue(), "a.txt").rgb.astype(int) - [200, 30, 60]).max() < 9


# ---- EXIF and resolution ----------------------------------------------------------------------------------------


def exif_block(order: str, orientation: int) -> bytes:
    """IFD0 with an orientation, the camera's name and a pointer to an EXIF directory with the picture's width; a
    thumbnail's directory behind it."""
    name = b"Camera\0\0"
    first = struct.pack(order + "H", 3)
    first += struct.pack(order + "HHII", 0x010F, 2, 7, 8 + 2 + 36 + 4)
    first += struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    first += struct.pack(order + "HHII", 0x8769, 4, 1, 8 + 2 + 36 + 4 + 8)
    first += struct.pack(order + "I", 8 + 2 + 36 + 4 + 8 + 2 + 12 + 4)
    inner = struct.pack(order + "HHHIII", 1, 0xA002, 4, 1, 640, 0)
    thumbnail = struct.pack(order + "HHHIII", 1, 0x0201, 4, 1, 0, 0)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(order + "I", 8) + first + name + inner + thumbnail


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_exif_survives_upright_and_with_the_new_size(tmp_path, order, suffix):
    block, orientation, _ = read_exif(b"Exif\0\0" + exif_block(order, 6))
    assert orientation == 6
    exif = Metadata(exif=block).of_size(1234, 99)
    write_picture(tmp_path / f"a{suffix}", Picture(np.zeros((16, 16, 3), np.uint8), metadata=exif))
    with Image.open(tmp_path / f"a{suffix}") as image:  # another reader
        found = image.getexif()
        assert (found[0x0112], found[0x010F], found.get_ifd(0x8769)[0xA002]) == (1, "Camera", 1234)
        assert not found.get_ifd(1)  # the small picture was of the small picture
    assert read_picture(tmp_path / f"a{suffix}").metadata.exif == exif.exif


def test_exif_that_a_format_cannot_hold_is_said(tmp_path):
    picture = Picture(np.zeros((8, 8, 3), np.uint8), metadata=Metadata(exif=exif_block("<", 1)))
    for suffix in (".tif", ".bmp"):
        assert any("EXIF" in note for note in write_picture(tmp_path / f"a{suffix}", picture))


@pytest.mark.parametrize("damage", range(0, 80, 3))
def test_damaged_exif_says_nothing_and_stops_nothing(damage):
    block = exif_block("<", 6)
    kept, orientation, _ = read_exif(block[:damage])
    assert kept is None or orientation in range(1, 9)
    for value in (0, 255):
        kept, orientation, _ = read_exif(block[:damage] + bytes([value] * 4) + block[damage + 4 :])
        assert 1 <= orientation <= 8
        Metadata(exif=kept).of_size(70000, 5)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_resolution_stays_what_it_is(tmp_path, suffix):
    picture = Picture(np.zeros((8, 8, 3), np.uint8), metadata=Metadata(resolution=(300.0, 200.0)))
    write_picture(tmp_path / f"a{suffix}", picture)
    assert np.allclose(read_picture(tmp_path / f"a{suffix}").metadata.resolution, (300, 200), atol=0.02)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert np.allclose(np.array(image.info["dpi"], float), (300, 200), atol=0.02)


def test_a_profile_for_grey_is_not_put_on_a_format_without_grey(tmp_path):
    profile = SRGB[:16] + b"GRAY" + SRGB[20:]
    picture = Picture(np.zeros((8, 8, 3), np.uint8), grey=True, metadata=Metadata(icc_profile=profile))
    assert "for grey" in write_picture(tmp_path / "a.webp", picture)[0]
    assert read_picture(tmp_path / "a.webp").metadata.icc_profile is None
    assert write_picture(tmp_path / "a.png", picture) == ()


# ---- what it takes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "tif", "ppm", "jpg", "gif"])
def test_the_header_is_accepted_before_a_pixel_is_decoded(tmp_path, kind):
    Image.new("RGB", (12, 7)).save(tmp_path / f"a.{kind}")
    seen: list[Layout] = []

    def accept(layout: Layout) -> None:
        seen.append(layout)
        raise InputError("too large for this machine")

    with pytest.raises(InputError, match="too large for this machine") as caught:
        read_picture(tmp_path / f"a.{kind}", accept=accept)
    assert (seen[0].width, seen[0].height, seen[0].bits) == (12, 7, 8) and f"a.{kind}" in caught.value.where


def test_a_small_file_that_claims_a_large_picture_is_refused_before_it_is_decoded(tmp_path, rng):
    blank = zlib.compress((b"\0" + bytes(1975)) * 15800, 9)
    header = struct.pack(">IIBBBBB", 15800, 15800, 1, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", blank) + chunk(b"IEND", b"")
    assert "15800x15800 pixels: blank" in refusal(tmp_path, data)
    small = jpeg(Image.new("RGB", (64, 64)), progressive=True)
    at = small.index(b"\xff\xc2")
    claim = small[: at + 5] + struct.pack(">HH", 5000, 5000) + small[at + 9 :]
    assert "cannot hold its 5000x5000" in refusal(tmp_path, claim)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_memory_follows_the_result_and_a_tile_whatever_the_kind(grey, alpha, dtype):
    """Of numpy's arrays, the largest amount alive at one time, for a picture cut in 16 tiles."""
    import tracemalloc

    from snpe_srgan.imaging.colour import grey_to_rgb
    from snpe_srgan.runtimes.session import Description, Session
    from snpe_srgan.runtimes.upscale import upscale_picture

    class Nearest(Session):
        def __init__(self):
            super().__init__(Description(Path("net"), "nearest", input_size=(64, 64)))

        def _infer(self, lr):
            return lr.repeat(4, 1).repeat(4, 2) * 2 - 1

    plane = np.zeros((256, 256), dtype)
    rgb = grey_to_rgb(plane) if grey else np.zeros((256, 256, 3), dtype)
    picture = Picture(rgb, grey=grey, alpha=plane if alpha else None)
    upscale_picture(Nearest(), picture)  # imports are no picture's memory
    tracemalloc.start()
    try:
        upscale_picture(Nearest(), picture)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    result = 1024 * 1024 * ((1 if grey else 3) + alpha) * plane.itemsize
    tile = 256 * 256 * 3 * 4
    assert peak < result + 6 * tile


def test_a_picture_that_memory_does_not_hold_is_refused_by_its_header(tmp_path, monkeypatch):
    from snpe_srgan.runtimes import upscale

    monkeypatch.setattr(upscale, "available_memory", lambda: 10_000_000_000)
    upscale.refuse_memory(Layout(10000, 10000, 3, 8), 4)
    with pytest.raises(InputError, match=r"40000x40000, need 5.1 GB of memory and 5.0 GB are free"):
        monkeypatch.setattr(upscale, "available_memory", lambda: 5_000_000_000)
        upscale.refuse_memory(Layout(10000, 10000, 3, 8), 4)
    upscale.refuse_memory(Layout(10000, 10000, 1, 8), 4)  # grey takes a third
    with pytest.raises(InputError, match="GB are free"):
        upscale.refuse_memory(Layout(10000, 10000, 1, 8), 4, target=tmp_path / "a.webp")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg", ".bmp"])
def test_a_full_disk_leaves_nothing(tmp_path, rng, suffix):
    import resource

    picture = Picture(numbers(rng, 256, 256, 3, 8).astype(np.uint8))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(InputError, match="cannot write the picture: File too large"):
            write_picture(tmp_path / f"a{suffix}", picture)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
