"""The kinds of picture files: the one table of what is read, by which suffixes it is found, and how it is recognized.

A file is what its first bytes say, whatever its name: `recognize`. Finders of pictures use `SUFFIXES`. Kinds with a
`refusal` are known, so that they can be refused by name and with a way out.
"""

from __future__ import annotations

from dataclasses import dataclass

HEAD = 4096  # bytes of a file that `recognize` needs at most


@dataclass(frozen=True)
class Kind:
    """One kind of picture file.

    Attributes:
        name: as people call it.
        suffixes: lower-case file name endings, the usual one first.
        pillow: Pillow's name of its decoder, where Pillow reads this kind.
        refusal: why it is not read and what to do instead; None where it is read.
    """

    name: str
    suffixes: tuple[str, ...]
    pillow: str | None = None
    refusal: str | None = None


_EXPORT = "export it as a PNG or TIFF of 8 or 16 bits a channel"

PNG = Kind("PNG", (".png", ".apng"))
JPEG = Kind("JPEG", (".jpg", ".jpeg", ".jfif", ".jpe", ".jif", ".mpo"), "JPEG")
TIFF = Kind("TIFF", (".tif", ".tiff"))
WEBP = Kind("WebP", (".webp",), "WEBP")
BMP = Kind("BMP", (".bmp", ".dib"), "BMP")
GIF = Kind("GIF", (".gif",), "GIF")
NETPBM = Kind("Netpbm", (".ppm", ".pgm", ".pbm", ".pnm"))
TGA = Kind("TGA", (".tga",), "TGA")
AVIF = Kind("AVIF", (".avif",), "AVIF")
JP2 = Kind("JPEG 2000", (".jp2", ".j2k", ".j2c"), "JPEG2000")
ICO = Kind("ICO", (".ico",), "ICO")

HEIC = Kind("HEIC", (".heic", ".heif"), refusal="save it as JPEG or PNG (phones: 'most compatible' in the camera)")
JXL = Kind("JPEG XL", (".jxl",), refusal="convert it with djxl to PNG")
PSD = Kind("Photoshop document", (".psd", ".psb"), refusal=_EXPORT)
EXR = Kind("OpenEXR", (".exr",), refusal=_EXPORT)
HDR = Kind("Radiance HDR", (".hdr",), refusal=_EXPORT)
PFM = Kind("portable float map", (".pfm",), refusal=_EXPORT)
PAM = Kind("portable arbitrary map", (".pam",), refusal="convert it to PNG")
SVG = Kind("SVG", (".svg",), refusal="it is a drawing without pixels: export it as PNG in the size you need")
PDF = Kind("PDF", (".pdf",), refusal="it is a document: save its picture as PNG")
EPS = Kind("PostScript", (".eps", ".ps"), refusal="it is a document: save its picture as PNG")

READ = (PNG, JPEG, TIFF, WEBP, BMP, GIF, NETPBM, TGA, AVIF, JP2, ICO)
REFUSED = (HEIC, JXL, PSD, EXR, HDR, PFM, PAM, SVG, PDF, EPS)
SUFFIXES = tuple(suffix for kind in READ for suffix in kind.suffixes)
KNOWN_SUFFIXES = (*SUFFIXES, *(suffix for kind in REFUSED for suffix in kind.suffixes))  # of pictures, read or not

_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"II*\0", TIFF), (b"MM\0*", TIFF), (b"II+\0", TIFF), (b"MM\0+", TIFF),
    (b"BM", BMP),
    (b"GIF87a", GIF), (b"GIF89a", GIF),
    (b"\0\0\0\x0cjP  \r\n\x87\n", JP2), (b"\xff\x4f\xff\x51", JP2),
    (b"\0\0\1\0", ICO),
    (b"\xff\x0a", JXL), (b"\0\0\0\x0cJXL \r\n\x87\n", JXL),
    (b"8BPS", PSD),
    (b"\x76\x2f\x31\x01", EXR),
    (b"#?RADIANCE", HDR), (b"#?RGBE", HDR),
    (b"PF\n", PFM), (b"Pf\n", PFM),
    (b"P7\n", PAM),
    (b"%PDF", PDF),
    (b"%!PS", EPS), (b"\xc5\xd0\xd3\xc6", EPS),
    (b"<svg", SVG),
)  # fmt: skip


def recognize(head: bytes) -> Kind | None:
    """The kind of a file that begins with `head` (`HEAD` bytes, or all there are), or None."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n#":
        return NETPBM
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head.lstrip()[:5] == b"<?xml" and b"<svg" in head:
        return SVG
    return TGA if _is_tga(head) else None


def _iso_media(head: bytes) -> Kind | None:
    brands = head[8 : max(12, min(int.from_bytes(head[:4], "big"), HEAD))]
    if b"avif" in brands or b"avis" in brands:
        return AVIF
    return HEIC if any(brand in brands for brand in (b"heic", b"heix", b"mif1", b"msf1", b"hevc")) else None


def _is_tga(head: bytes) -> bool:
    """TGA has no magic number: its header's fields are looked at."""
    if len(head) < 18:
        return False
    has_map, kind, depth = head[1], head[2], head[16]
    size = int.from_bytes(head[12:14], "little"), int.from_bytes(head[14:16], "little")
    map_fits = has_map == 1 if kind in (1, 9) else has_map in (0, 1)
    return kind in (1, 2, 3, 9, 10, 11) and map_fits and depth in (1, 8, 15, 16, 24, 32) and 0 not in size
