"""Two files, or one file in two places, on one small picture: where they part, layer by layer.

    found = diverge_files(resolve("m_w8a8.dlc"), None, DivergeOptions(on="emulator"))
    write_divergence(found, "out", stem="m_w8a8")
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.artifacts.files import atomic_write, refuse_overwrite, write_json
from snpe_srgan.artifacts.plain import to_plain
from snpe_srgan.divergence.engines import PLACES, Emulator, Host, Place
from snpe_srgan.divergence.find import Divergence, Found, diverge
from snpe_srgan.errors import InputError, UsageError, did_you_mean
from snpe_srgan.toolchains.socs import DEFAULT
from snpe_srgan.zoo.resolve import ModelFile

if TYPE_CHECKING:
    import onnx

SIZE = (32, 32)  # LR pixels: seconds on the emulator, and larger than most networks see
SUFFIXES = (".divergence.json", ".divergence.png", ".divergence.pictures.png")


@dataclass(frozen=True)
class DivergeOptions:
    """Attributes:
    on: where the second run takes place: `host` or `emulator`.
    chip: for the emulator; 'none' computes float graphs in float32.
    picture: an LR picture, of which the centre is taken; None draws one with slopes, edges, texture and noise.
    size: LR height and width; a file of fixed size that does not run at it runs at its own.
    """

    on: str = "emulator"
    chip: int | str = DEFAULT
    picture: str | os.PathLike | None = None
    size: tuple[int, int] = SIZE


def diverge_files(
    first: ModelFile,
    second: ModelFile | None,
    options: DivergeOptions,
    *,
    say: Callable[[str], None] = lambda text: None,
) -> Found:
    """The first file on the host, and the second where `options.on` says.

    Args:
        second: None: the first file again.
        say: called with a line on what is being done.

    Raises:
        UsageError: nothing to compare.
        InputError: the files hold no graph of operators, or do not run at one size.
        MissingToolError: the emulator is not installed.
    """
    if options.on not in PLACES:
        raise UsageError(f"unknown place '{options.on}'", hint=did_you_mean(options.on, PLACES))
    if options.on == "host" and second is None:
        raise UsageError("one file on the host is the same twice", hint="--on emulator, or name a second file")
    where = Host() if options.on == "host" else Emulator(None if options.chip == "none" else options.chip)
    graphs = [_graph(file) for file in ((first,) if second is None else (first, second))]
    names = (first.path.name, (second or first).path.name)
    return diverge_graphs(graphs[0], graphs[-1], options, where=where, names=names, say=say)


def diverge_graphs(
    first: onnx.ModelProto,
    second: onnx.ModelProto,
    options: DivergeOptions,
    *,
    where: Place,
    names: tuple[str, str],
    say: Callable[[str], None] = lambda text: None,
) -> Found:
    """The same for graphs that are read already.

    Args:
        options: whose picture and size are used; `on` and `chip` are not.
        where: runs the second graph.
        names: of the two, for the report.
        say: called with a line on what is being done.

    Raises:
        InputError: they do not run at one size, or are no forms of one network.
    """
    models, size = _at_one_size([first, second], options.size, names)
    lr = _picture(options.picture, size)
    return diverge(models[0], models[1], lr, where=where, names=names, say=say)


def write_divergence(found: Found, folder: str | os.PathLike, *, stem: str, overwrite: bool = False) -> list[Path]:
    """Writes STEM.divergence.json, .png (every layer) and .pictures.png into a folder; their paths.

    Args:
        stem: what the files are called by.
        overwrite: whether they may exist already.

    Raises:
        InputError: one of them exists and may not, or cannot be written.
    """
    from snpe_srgan.divergence.pictures import panels, plot
    from snpe_srgan.imaging.picture import Picture
    from snpe_srgan.imaging.writing import write_picture

    paths = divergence_paths(folder, stem)
    for path in paths:
        refuse_overwrite(path, overwrite)
    write_json(paths[0], summary(found.report), overwrite=overwrite)
    with atomic_write(paths[1], overwrite=overwrite) as temporary:
        plot(found.report).savefig(temporary, dpi=110, facecolor="white", format="png")
    write_picture(paths[2], Picture(panels(found)), overwrite=overwrite)
    return paths


def divergence_paths(folder: str | os.PathLike, stem: str) -> list[Path]:
    """The files that `write_divergence` writes, in the order of SUFFIXES."""
    return [Path(folder) / f"{stem}{suffix}" for suffix in SUFFIXES]


def summary(report: Divergence) -> dict[str, object]:
    """The report as plain data, with the names of the first layer that departs and of the one that matters most."""
    plain = to_plain(report)
    assert isinstance(plain, dict)
    named = {key: layer.name if layer else None for key, layer in (("first", report.first), ("worst", report.worst))}
    return {**named, **plain}


def _graph(file: ModelFile) -> onnx.ModelProto:
    """The operators of a file; tried in a child process first unless they ship with the package."""
    from snpe_srgan.onnx_graphs.model import probe
    from snpe_srgan.runtimes.source import load_source

    if file.kind in ("pb", "tflite"):
        raise UsageError(f"layers are compared of .onnx, .dlc and .npz files, not of a .{file.kind}", where=file.path,
                         hint="snpe-srgan convert" if file.kind == "pb" else None)  # fmt: skip
    source = load_source(file)
    if source.model is None or source.compiled:
        raise InputError("it holds NPU code, no operators", where=file.path, hint="name the file it was compiled from")
    if file.kind == "dlc" and not file.shipped:
        probe(source.model.SerializeToString(), where=file.path)
    return source.model


def _at_one_size(
    models: list[onnx.ModelProto], size: tuple[int, int], names: tuple[str, str]
) -> tuple[list[onnx.ModelProto], tuple[int, int]]:
    """The graphs at `size`, or, where one cannot be resized, all at the fixed size of that one."""
    from snpe_srgan.onnx_graphs.model import input_size

    sizes = [size, *dict.fromkeys(s for s in map(input_size, models) if s is not None)]
    for tried in sizes:
        found = [_fixed(model, tried) for model in models]
        if all(model is not None for model in found):
            return [model for model in found if model is not None], tried
    raise InputError(f"the networks do not run at {sizes[0][0]}x{sizes[0][1]}", where=names[1],
                     hint="--input-size HxW")  # fmt: skip


def _fixed(model: onnx.ModelProto, size: tuple[int, int]) -> onnx.ModelProto | None:
    """The graph at a size, if it runs there."""
    from snpe_srgan.onnx_graphs.model import fix_size, input_size
    from snpe_srgan.onnx_graphs.run import free_size

    try:
        fixed = model if input_size(model) == size else fix_size(free_size(model), size)
        Host().run(fixed, {fixed.graph.input[0].name: np.zeros((1, *size, 3), np.float32)})
    except InputError:
        return None
    return fixed


def _picture(path: str | os.PathLike | None, size: tuple[int, int]) -> np.ndarray:
    """(1, h, w, 3) float32 of 8-bit pixels, which is what a phone's camera gives."""
    from snpe_srgan.imaging.colour import pixels_to_lr, to_uint8
    from snpe_srgan.imaging.pictures import read_picture
    from snpe_srgan.stages.compare import probe_picture

    if path is None:
        return pixels_to_lr(np.rint(probe_picture(*size) * 255).astype(np.uint8))
    pixels = to_uint8(read_picture(Path(path)).rgb)
    if pixels.shape[0] < size[0] or pixels.shape[1] < size[1]:
        raise InputError(f"the picture is {pixels.shape[0]}x{pixels.shape[1]}, smaller than {size[0]}x{size[1]}",
                         where=path, hint="--input-size HxW")  # fmt: skip
    top, left = ((pixels.shape[i] - size[i]) // 2 for i in range(2))
    return pixels_to_lr(np.ascontiguousarray(pixels[top : top + size[0], left : left + size[1]]))[None]
