"""The bundle's pages and samples, from the templates in `templates/`, with the bundle's own names and numbers."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snpe_srgan.artifacts.files import make_folder, write_text
from snpe_srgan.deploy.manifest import CONTEXT, DLC, NPU_TFLITE, TFLITE, Manifest
from snpe_srgan.errors import MissingToolError

if TYPE_CHECKING:
    import jinja2
    import numpy as np

    from snpe_srgan.deploy.proof import Proof

SAMPLES = {  # template -> file in the bundle
    "Enlarge.kt.j2": "samples/android/Enlarge.kt",
    "enlarge.cpp.j2": "samples/onnxruntime/enlarge.cpp",
    "enlarge.py.j2": "samples/onnxruntime/enlarge.py",
    "snpe_net_run.sh.j2": "samples/adb/snpe_net_run.sh",
    "README.md.j2": "README.md",
}


def environment(folder: str = "templates") -> jinja2.Environment:
    """The templates in a folder of this package. Strict: a name that one misspells is an error. HTML is escaped.

    Raises:
        MissingToolError: Jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingToolError("the bundle's pages need the package Jinja2", hint="pip install Jinja2") from error
    return jinja2.Environment(
        loader=jinja2.PackageLoader("snpe_srgan.deploy", folder), undefined=jinja2.StrictUndefined,
        autoescape=lambda name: name is not None and name.endswith(".html.j2"), trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip


def facts(manifest: Manifest) -> dict[str, object]:
    """What the samples' templates name: one artifact of each kind, and all of them."""
    by_kind = {kind: [a for a in manifest.artifacts if a.kind == kind] for kind in (TFLITE, NPU_TFLITE, CONTEXT, DLC)}
    single = [a for a in by_kind[CONTEXT] if len(a.chips) == 1]
    return {
        "manifest": manifest,
        "height": manifest.input_size[0],
        "width": manifest.input_size[1],
        "scale": manifest.scale,
        "uint8": next(a for a in by_kind[TFLITE] if a.input.type == "uint8"),
        "float32": next(a for a in by_kind[TFLITE] if a.input.type == "float32"),
        "npu": by_kind[NPU_TFLITE],
        "contexts": single,
        "dlc": by_kind[DLC][0],
        "qairt": next((a.qairt for a in manifest.artifacts if a.qairt), None),
    }


def write_samples(folder: Path, manifest: Manifest) -> None:
    """README.md and the samples."""
    templates, values = environment(), facts(manifest)
    for template, name in SAMPLES.items():
        make_folder((folder / name).parent)
        write_text(folder / name, templates.get_template(template).render(**values))


def png_url(pixels: np.ndarray) -> str:
    """uint8 RGB pixels as a data: URL."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def write_page(
    folder: Path, *, manifest: Manifest, proofs: Sequence[Proof], pictures: Mapping[str, str],
    facts: Mapping[str, object],
) -> None:  # fmt: skip
    """proof.html, one file that shows itself without a network.

    Args:
        pictures: data URLs of the judge's pictures, "lr" and "exact".
        facts: what proof.json holds besides the proofs, and `drawings`: what the files drew.
    """
    page = environment().get_template("proof.html.j2")
    text = page.render(manifest=manifest, proofs=proofs, pictures=pictures, **facts)
    write_text(folder / "proof.html", text)
