"""The files of a run folder, by what they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NAMES = {
    "data": "data.json",
    "npz": "generator.npz",
    "compressed": "generator_{target}.npz",
    "compression": "generator_{target}.compression.json",
    "pb": "generator.pb",
    "onnx": "generator.onnx",
    "dlc": "generator.dlc",
    "quantized_onnx": "generator_{recipe}.onnx",
    "quantized_dlc": "generator_{recipe}.dlc",
    "quantization": "generator_{recipe}.report.json",
    "plots": "generator_{recipe}.plots",
    "bicubic_scores": "evaluation_bicubic.json",
    "full_scores": "evaluation_full.json",
    "float_scores": "evaluation_float.json",
    "quantized_scores": "evaluation_{recipe}.json",
    "benchmark": "benchmark.json",
    "bundle": "bundle",
    "bundle_list": "bundle/bundle.json",
    "proof": "bundle/proof.json",
    "report_html": "report.html",
    "report_md": "report.md",
}


@dataclass(frozen=True)
class Files:
    """`files.npz`, `files.quantized_dlc`, ...: every key of NAMES as a path in `folder`. `target` is the label of
    what is left by compression, empty where the trained network goes on as it is."""

    folder: Path
    recipe: str
    target: str = ""

    def __getattr__(self, name: str) -> Path:
        if name not in NAMES:
            raise AttributeError(name)
        return self.folder / NAMES[name].format(recipe=self.recipe, target=self.target)

    @property
    def network(self) -> Path:
        """The `.npz` that is evaluated, frozen and deployed."""
        return self.compressed if self.target else self.npz

    def pictures(self, kind: str) -> Path:
        """Folder of the enlarged pictures of one kind: bicubic, full (before compression), float, quantized."""
        return self.folder / "pictures" / kind
