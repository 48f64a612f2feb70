"""How the enlarged video is encoded: codec, quality and pixel format, chosen after the source and the file it goes to.

encoding, remarks = choose_encoding(facts, Path("clip_x4.mp4"), size=(720, 1280))
context = open_encoder(encoding)

What the source has (bits, chroma, transparency, colour tags, HDR's metadata) is kept where the file and its codec can
hold it; a remark says what is not.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from snpe_srgan.errors import InputError, MissingToolError, UsageError, did_you_mean
from snpe_srgan.machine import usable_threads
from snpe_srgan.video.colour import FULL, Colour
from snpe_srgan.video.kinds import output_format
from snpe_srgan.video.source import DYNAMIC, PQ_OR_HLG, Facts, reason


@dataclass(frozen=True)
class Codec:
    """An encoder: its name in FFmpeg, the quality it gets by default (None: it has none), the containers it goes in."""

    encoder: str
    crf: int | None
    worst: int
    containers: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()


CODECS = {
    "h264": Codec("libx264", 18, 51, ("mp4", "mov", "matroska"), (("preset", "veryfast"),)),
    "h265": Codec("libx265", 20, 51, ("mp4", "mov", "matroska"), (("preset", "fast"),)),
    "av1": Codec("libsvtav1", 28, 63, ("mp4", "matroska", "webm"), (("preset", "8"),)),
    "vp9": Codec(
        "libvpx-vp9", 30, 63, ("mp4", "matroska", "webm"),
        (("b", "0"), ("deadline", "good"), ("cpu-used", "4"), ("row-mt", "1")),
    ),
    "ffv1": Codec("ffv1", None, 0, ("matroska",), (("level", "3"), ("slicecrc", "1"))),
    "prores": Codec("prores_ks", None, 0, ("mov", "matroska")),
}  # fmt: skip
TRANSPARENT = {"mov": "prores", "matroska": "ffv1", "webm": "vp9"}


@dataclass(frozen=True)
class Encoding:
    """All that an encoder is opened with: the same encoding gives the same packets."""

    codec: str
    encoder: str
    pix_fmt: str
    crf: int | None
    options: tuple[tuple[str, str], ...]
    threads: int
    container: str
    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    colour: Colour
    alpha: bool

    def describe(self) -> str:
        """Codec, encoder, quality and pixel format in one line, for people."""
        quality = "lossless" if self.codec == "ffv1" else f"crf {self.crf}" if self.crf is not None else "its own rate"
        return f"{self.codec} ({self.encoder}), {quality}, {self.pix_fmt}"


def choose_encoding(
    facts: Facts,
    target: Path,
    *,
    size: tuple[int, int],
    codec: str | None = None,
    crf: int | None = None,
    pix_fmt: str | None = None,
) -> tuple[Encoding, tuple[str, ...]]:
    """The encoding of a video of `size` (height, width) into `target`, and remarks on what cannot be kept.

    Args:
        facts: of the source.
        target: its suffix says which container.
        size: of the enlarged frames in pixels.
        codec: a key of `CODECS`; None for one that the container and the source's bits and transparency ask for.
        crf: the codec's constant rate factor, smaller is better; None for its default here.
        pix_fmt: FFmpeg's name; None for the one that keeps most of the source's.

    Raises:
        UsageError: the wishes do not go together, or not into this file.
        MissingToolError: PyAV was built without the encoder.
        InputError: no pixel format of the encoder fits the size.
    """
    import av

    container = output_format(target)
    name = codec or _default_codec(facts, container)
    if name not in CODECS:
        raise UsageError(f"unknown --codec '{name}'", hint=did_you_mean(name, CODECS))
    chosen = CODECS[name]
    if container not in chosen.containers:
        fitting = [key for key, value in CODECS.items() if container in value.containers]
        raise UsageError(f"--codec {name} does not go into {target.suffix}", hint="--codec " + ", ".join(fitting))
    if crf is not None and chosen.crf is None:
        raise UsageError(f"--crf does not go with --codec {name}, which has no such quality")
    if crf is not None and crf > chosen.worst:
        raise UsageError(f"--crf {crf} is over {chosen.worst}, the worst of {name}")
    try:
        supported = [f.name for f in av.Codec(chosen.encoder, "w").video_formats or ()]
    except (av.FFmpegError, ValueError) as error:
        hint = "pip install --force-reinstall av, or another --codec"
        raise MissingToolError(f"this PyAV has no encoder {chosen.encoder}", hint=hint) from error
    if pix_fmt is not None and pix_fmt not in supported:
        raise UsageError(f"--pix-fmt {pix_fmt} is none of {name}", hint="known: " + ", ".join(supported)[:150])
    form = pix_fmt or choose_format(facts, supported, size)
    kind = av.VideoFormat(form)
    alpha = any(c.is_alpha for c in kind.components) and facts.alpha
    quality = chosen.crf if crf is None else crf
    options = dict(chosen.options) | ({} if quality is None else {"crf": str(quality)})
    if name == "prores":
        options["profile"] = "4" if "444" in form else "3"
    colour = facts.colour if not kind.is_rgb else replace(facts.colour, range=FULL)
    encoding = Encoding(
        name, chosen.encoder, form, quality, (), usable_threads(), container, size, facts.time_base, facts.rate,
        facts.aspect, colour, alpha,
    )  # fmt: skip
    if name == "h265":
        options["x265-params"] = _x265(facts, encoding.threads, size)
    encoding = replace(encoding, options=tuple(sorted(options.items())))
    return encoding, tuple(_remarks(facts, encoding, kind))


def _default_codec(facts: Facts, container: str) -> str:
    if facts.alpha and container in TRANSPARENT:
        return TRANSPARENT[container]
    if container == "webm":
        return "av1" if facts.bits > 8 else "vp9"
    return "h265" if facts.bits > 8 else "h264"


def choose_format(facts: Facts, supported: list[str], size: tuple[int, int]) -> str:
    """The pixel format of an encoder that keeps most of the source's, and adds least to it.

    Transparency comes first, then bits, then the resolution of colour; a format whose colour planes do not divide the
    size (`4:2:0` of an odd one) is left out.

    Args:
        supported: FFmpeg's names of the encoder's pixel formats.
        size: (height, width) of the enlarged frames.

    Raises:
        InputError: none fits the size.
    """
    import av

    source = av.VideoFormat(facts.pix_fmt.replace("yuvj", "yuv"))
    wanted = _traits(source)

    def cost(name: str) -> tuple[bool, bool, bool, bool, int, int, bool, int]:
        alpha, bits, chroma, grey, rgb = _traits(av.VideoFormat(name))
        less = grey and not wanted[3], bits < wanted[1], chroma > wanted[2]  # no colour, fewer bits, coarser colour
        # Players know 4:2:0 and little else: grey and RGB go there unless the encoder is one that keeps RGB.
        return (
            wanted[0] and not alpha, *less, abs(bits - wanted[1]), abs(chroma - wanted[2]),
            alpha and not wanted[0], int(grey) + int(rgb),
        )  # fmt: skip

    def fits(name: str) -> bool:
        form = av.VideoFormat(name)
        return not (size[1] % (64 // form.chroma_width(64)) or size[0] % (64 // form.chroma_height(64)))

    usual = [n for n in supported if not n.startswith(("yuvj", "nv", "yaf", "grayf", "gbrpf")) and fits(n)]
    if not usual:
        raise InputError(f"no pixel format of the encoder fits {size[1]}x{size[0]} pixels")
    return min(usual, key=cost)


def _traits(form) -> tuple[bool, int, int, bool, bool]:
    """(alpha, bits, by how much colour is coarser than brightness, grey, RGB). Palettes are RGB; grey has all its
    colour in 4:2:0."""
    components = form.components
    alpha = any(c.is_alpha for c in components)
    bits = max(c.bits for c in components)
    grey = not form.is_rgb and len(components) - alpha == 1 and not form.has_palette
    coarse = 4 if grey else (64 // max(1, form.chroma_width(64))) * (64 // max(1, form.chroma_height(64)))
    return alpha, bits, coarse, grey, form.is_rgb or form.has_palette


def _x265(facts: Facts, threads: int, size: tuple[int, int]) -> str:
    parameters = ["log-level=none", f"pools={threads}"]
    if min(size) < 128:
        parameters.append("asm=0")  # x265's vector code writes beyond its buffers in pictures of less than 64 pixels
    if facts.mastering is not None and (display := mastering_display(facts.mastering)):
        parameters += ["hdr10=1", "repeat-headers=1", f"master-display={display}"]
    if facts.light is not None and len(facts.light) >= 8:
        most, average = struct.unpack("=II", facts.light[:8])
        parameters.append(f"max-cll={most},{average}")
    return ":".join(parameters)


def mastering_display(data: bytes) -> str | None:
    """FFmpeg's AVMasteringDisplayMetadata as x265 writes it (SMPTE ST 2086: units of 0.00002 and 0.0001 cd/m2)."""
    numbers = struct.unpack("=22i", data[:88]) if len(data) >= 88 else (0,) * 22
    pairs = [(n, d) for n, d in zip(numbers[:20:2], numbers[1:20:2], strict=True)]
    if not all(numbers[20:22]) or any(d == 0 for _, d in pairs):
        return None
    (rx, ry, gx, gy, bx, by, wx, wy), (low, high) = [round(n * 50000 / d) for n, d in pairs[:8]], pairs[8:]
    luminance = [round(n * 10000 / d) for n, d in (high, low)]
    return f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({luminance[0]},{luminance[1]})"


def _remarks(facts: Facts, encoding: Encoding, kind):
    bits = max(c.bits for c in kind.components)
    if facts.alpha and not encoding.alpha:
        yield "its transparency is dropped: --codec prores into .mov, ffv1 into .mkv or vp9 into .webm keeps it"
    if bits < facts.bits:
        yield f"its {facts.bits} bits become {bits}: --codec h265 keeps more"
    hdr = facts.colour.transfer in PQ_OR_HLG
    if hdr and bits < 10:
        yield "it is HDR, and 8 bits show bands in it: --codec h265 keeps 10"
    if (facts.mastering or facts.light) and encoding.codec != "h265":
        yield "HDR's static metadata (mastering display, light level) are dropped: --codec h265 keeps them"
    if facts.dynamic:
        names = "HDR10+ or Vivid" if any(name in DYNAMIC for name in facts.dynamic) else "Dolby Vision"
        yield f"the dynamic metadata of {names} are dropped; the base layer is enlarged"
    if facts.interlaced:
        yield (
            "the source is interlaced: its frames are enlarged as they are woven and written as progressive; separate "
            "the lines first (ffmpeg -vf bwdif)"
        )
    if facts.colour.guessed:
        matrix = "BT.709" if facts.colour.matrix == 1 else "BT.601"
        yield f"the source names no colour matrix: {matrix} is taken, as players do at its size, and written down"
    if facts.colour.unknown is not None:
        number = facts.colour.unknown
        yield f"the source's colour matrix (H.273 number {number}) is not known here: BT.709's is used both ways"


def open_encoder(encoding: Encoding, context=None):
    """A fresh encoder; `context` is one that a container has made, which then gets all settings and stays closed.

    Returns:
        PyAV's codec context.

    Raises:
        InputError: the encoder does not take this size and pixel format.
    """
    import av
    from av.codec.context import Flags

    fresh = context is None
    if context is None:
        context = av.CodecContext.create(encoding.encoder, "w")
        context.flags |= Flags.global_header
    context.flags |= Flags.frame_duration
    context.height, context.width = encoding.size
    context.pix_fmt = encoding.pix_fmt
    context.time_base, context.framerate = encoding.time_base, encoding.rate
    context.sample_aspect_ratio = encoding.aspect
    colour = encoding.colour
    rgb = av.VideoFormat(encoding.pix_fmt).is_rgb
    context.colorspace, context.color_range = (0, FULL) if rgb else (colour.matrix, colour.range)
    context.color_primaries, context.color_trc = colour.primaries, colour.transfer
    context.thread_count = encoding.threads
    context.options = dict(encoding.options)
    if encoding.codec == "h265" and encoding.container in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # Apple's players take no other
    if fresh:
        try:
            context.open()
        except (av.FFmpegError, ValueError) as error:
            height, width = encoding.size
            raise InputError(
                f"{encoding.encoder} cannot encode {width}x{height} pixels of {encoding.pix_fmt}: {reason(error)}",
                hint="another --codec or --pix-fmt",
            ) from error
    return context
