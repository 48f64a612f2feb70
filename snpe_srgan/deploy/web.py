"""`deploy --web`: a folder of files that enlarges the visitor's own photo in the browser, and sends it nowhere.

result = make_site(resolve("mobile"), "site", recipe="w8a8")
result.bytes, result.exact_tiles

The page runs ONNX Runtime Web on the processor (WebAssembly). Its 8-bit kernels give the host's bits, so that a w8a8
network draws the same bytes in every browser; the page's own example is compared with the host's. A float network's
page also holds the build for WebGPU, and tests it before use (`site/engine.js`). WebAssembly is kept gzipped and
unpacked by the page: both builds are 41 MB, packed 10 MB.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from snpe_srgan.artifacts.card import source_of
from snpe_srgan.artifacts.files import (
    atomic_folder,
    refuse_folder,
    require_writable,
    sha256,
    write_bytes,
    write_json,
    write_text,
)
from snpe_srgan.artifacts.staging import Scratch
from snpe_srgan.calibration.crops import Pictures
from snpe_srgan.deploy.render import environment
from snpe_srgan.deploy.tiles import PLAN, make_rule, to_json
from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.opener import read_regular
from snpe_srgan.quantization.recipe import AUTO, parse_recipe
from snpe_srgan.runtimes.source import Source, load_source
from snpe_srgan.stages.checked_dlc import dlc_size
from snpe_srgan.toolchains.ort_web import MAX_BYTES, Build, OrtWeb, find_ort_web
from snpe_srgan.zoo.resolve import RUNNABLE, ModelFile, resolve

if TYPE_CHECKING:
    import numpy as np

FACTS, MODEL = "site.json", "model.onnx"
STATIC = ("app.js", "engine.js", "start.js", "style.css", "tiles.js", "worker.js")
ENGINE = "onnxruntime"  # what the bytes of the page are those of: run --engine onnxruntime
LARGE = 16 << 20  # bytes; a site of more is said to be large


@dataclass(frozen=True)
class SiteResult:
    """`recipe` is None for a float network; `integer`: every convolution is between 8-bit integers; `webgpu`: the page
    may run the network on a graphics processor."""

    folder: Path
    network: str
    recipe: str | None
    bytes: int
    exact_tiles: bool
    integer: bool
    webgpu: bool
    onnxruntime_web: str | None
    example_sha256: str


@dataclass(frozen=True, eq=False)
class _Network:
    source: Source
    name: str
    recipe: str | None
    size: tuple[int, int]


def make_site(
    file: ModelFile,
    out: str | Path,
    *,
    recipe: str | None = "w8a8",
    calibration: Sequence[Pictures] = ("sample",),
    input_size: tuple[int, int] | None = None,
    ort_web: str | Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> SiteResult:
    """Makes the folder `out`.

    Args:
        file: a float model, or a quantized .onnx or .dlc, which is taken as it is.
        recipe: how a float model is quantized; None leaves it as it is.
        calibration: HR pictures, as of `QuantizeOptions`.
        input_size: LR (height, width) of the tiles; None for what the model is fixed to, else 128x128.
        ort_web: where the npm package is, see `find_ort_web`.

    Raises:
        UsageError: the recipe 'auto'.
        InputError: what no site can be made of.
        MissingToolError: onnxruntime-web or Jinja2 is not there.
    """
    from snpe_srgan.onnx_graphs.model import fix_size

    if recipe is not None:
        if recipe.strip().lower() == AUTO:
            raise UsageError("deploy takes one recipe: 'auto' needs pictures to choose by", where="--recipe")
        parse_recipe(recipe)
    package = find_ort_web(ort_web)
    environment()
    refuse_folder(out, overwrite, mark=FACTS)
    require_writable(Path(out).absolute().parent)
    with atomic_folder(out, overwrite=overwrite, mark=FACTS) as folder, Scratch() as scratch:
        network = _network(file, Path(scratch), recipe, calibration, input_size, say)
        model = fix_size(network.source.graph, network.size, where=file.path)
        write_bytes(folder / MODEL, model.SerializeToString())
        facts = _write(folder, network, package, source_of(file.path), say)
    total = sum(path.stat().st_size for path in Path(out).rglob("*") if path.is_file())
    if total > LARGE:
        say(f"the site is {total / 1e6:.1f} MB: visitors wait for it once; a w8a8 network is smaller")
    return SiteResult(
        Path(out), network.name, network.recipe, total, bool(facts["exact"]), bool(facts["integer"]),
        bool(facts["webgpu"]), package.version, str(facts["example"]["sha256"]),
    )  # fmt: skip


def _network(
    file: ModelFile, scratch: Path, recipe: str | None, calibration: Sequence[Pictures], wish: tuple[int, int] | None,
    say: Callable[[str], None],
) -> _Network:  # fmt: skip
    """The graph that the page runs, read from a file as `run` reads it."""
    from snpe_srgan.onnx_graphs.quantized import is_quantized
    from snpe_srgan.stages.quantize import QuantizeOptions, quantize_model

    if file.kind == "pb":
        raise InputError("a .pb is no ONNX graph", where=file.path, hint="the .npz, or snpe-srgan convert")
    source = load_source(file)
    if source.compiled:
        raise InputError(f"its code is for {source.compiled}: no browser runs it", where=file.path)
    fixed, size = source.known.input_size, dlc_size(wish, source.known)
    if fixed is not None and fixed != size:
        raise InputError(
            f"the model's input is fixed to {fixed[0]}x{fixed[1]}", where=file.path,
            hint="--input-size {}x{}".format(*fixed),
        )  # fmt: skip
    name = file.stem if file.card is None or file.origin else file.card.network
    name = file.stem if name == "unknown" else name
    if is_quantized(source.graph):
        told = None if file.card is None else file.card.quantization.get("name")
        return _Network(source, name, str(told or "quantized"), size)
    if recipe is None:
        return _Network(source, name, None, size)
    options = QuantizeOptions(recipe=recipe, calibration=calibration, input_size=size, onnx_only=True)
    made = quantize_model(file, scratch, options, say=say)
    return _Network(load_source(resolve(made.onnx, kinds=RUNNABLE)), name, made.recipe, size)


def _write(
    folder: Path, network: _Network, package: OrtWeb, source: dict[str, str], say: Callable[[str], None]
) -> dict:  # fmt: skip
    facts = network.source.known
    rule = make_rule(network.name, facts, network.size, {}, say=say)
    write_json(folder / PLAN, to_json(rule))
    graphics = package.graphics if network.recipe is None else None
    if network.recipe is None and graphics is None:
        say("this onnxruntime-web has no WebGPU build: the page computes on the processor")
    _runtime(folder, "ort", package.processor)
    if graphics is not None:
        _runtime(folder, "ort.webgpu", graphics)
    told = {
        "schema_version": 1,
        "network": network.name,
        "recipe": network.recipe,
        "scale": facts.scale,
        "exact": rule.exact,
        "reason": rule.reason,
        "integer": network.source.integer,
        "webgpu": graphics is not None,
        "source": source,
        "onnxruntime_web": package.version,
        "example": _example(folder, facts.scale),
    }
    package_files = resources.files("snpe_srgan.deploy") / "site"
    for name in STATIC:
        write_text(folder / name, (package_files / name).read_text("utf-8"))
    templates = environment("site")
    values = {**told, "tile": network.size, "version": package.version}
    write_text(folder / "index.html", templates.get_template("index.html.j2").render(**values))
    write_json(folder / FACTS, told)
    names = sorted(path.name for path in folder.iterdir())
    digest = hashlib.sha256("".join(sha256(folder / name) for name in names).encode()).hexdigest()[:16]
    worker = templates.get_template("offline.js.j2").render(digest=digest, files=["./", *names])
    write_text(folder / "offline.js", worker)
    return told


def _runtime(folder: Path, name: str, build: Build) -> None:
    script, wasm = (
        read_regular(path, limit=MAX_BYTES, doing="read ONNX Runtime Web") for path in (build.script, build.wasm)
    )
    write_bytes(folder / f"{name}.mjs", script)
    write_bytes(folder / f"{name}.wasm.gz", gzip.compress(wasm, mtime=0))


def _example(folder: Path, scale: int) -> dict[str, str]:
    """Writes example.png and gives the SHA-256 of the bytes that `run` makes of it here."""
    from PIL import Image

    from snpe_srgan.runtimes.open import open_session
    from snpe_srgan.runtimes.upscale import upscale_pixels

    pixels, origin = _picture(scale)
    Image.fromarray(pixels).save(folder / "example.png", optimize=True)
    with open_session(resolve(folder / MODEL, kinds=RUNNABLE), on="host", engine=ENGINE) as session:
        sr = upscale_pixels(session, pixels).pixels
    return {"origin": origin, "sha256": hashlib.sha256(sr.tobytes()).hexdigest()}


def _picture(scale: int) -> tuple[np.ndarray, str]:
    """uint8 pixels that anyone may publish, and what they are: a photograph that scikit-image brings, else drawn ones.
    Never one of the user's."""
    import numpy as np

    from snpe_srgan.calibration.crops import calibration_crops
    from snpe_srgan.data.sample import photo_folder
    from snpe_srgan.errors import MissingToolError
    from snpe_srgan.imaging.bicubic import downscale
    from snpe_srgan.imaging.pictures import read_picture

    try:
        photo = photo_folder() / "coffee.png"
    except MissingToolError:
        crops = calibration_crops(("synthetic",), scale=scale, count=1, size=160)
        return np.rint(crops.arrays[0][0] * 255).astype(np.uint8), crops.origin
    return downscale(read_picture(photo).rgb, 2), "coffee.png of scikit-image, made smaller by 2"
