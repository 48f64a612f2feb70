"""`tiles.json`: the rule by which an app cuts a picture of any size in tiles, and puts the results together.

    write_tiles(folder, plan)       # tiles.json, tiles.schema.json, run_tiles.py

The rule is that of `runtimes/tiling.py` for a network of fixed input: the reference runner gives the bits that `run`
gives. The file contains worked examples, so that an implementation in another language can be tested against them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from snpe_srgan.artifacts.files import write_json, write_text
from snpe_srgan.imaging.tiles import plan_tiles
from snpe_srgan.onnx_graphs.reach import Facts

RUNNER, SCHEMA, PLAN = "run_tiles.py", "tiles.schema.json", "tiles.json"
EXAMPLES = ((1, 1), (0.5, 0.75), (1, 1.01), (2.3, 1), (3, 4.7))  # of the tile: height, width


@dataclass(frozen=True)
class TileRule:
    """What an app must know to enlarge any picture by a network of fixed input.

    Attributes:
        scale: how many times as high and wide the result is.
        tile: LR (height, width) of the network's input.
        overlap: LR pixels between a kept pixel and a border that is not the picture's.
        exact: whether tiles give what the whole picture would give; `reason` says why not.
    """

    network: str
    scale: int
    tile: tuple[int, int]
    overlap: int
    exact: bool
    reason: str | None
    files: dict[str, dict]


def make_rule(
    name: str, facts: Facts, size: tuple[int, int], files: dict[str, dict], *,
    say: Callable[[str], None] = lambda text: None,
) -> TileRule:  # fmt: skip
    """The rule for a network and tiles of `size` LR pixels; says where tiles cannot be exact.

    Args:
        name: of the network.
        facts: of the network: scale, how far it sees.
        size: (height, width) of a tile.
        files: path below the bundle (a pattern) -> what an app must know of the files there.
        say: called with the reason where tiles give what is only near the whole picture's.
    """
    reason, overlap, quarter = None, facts.overlap, min(size) // 4
    if overlap is None:
        reason, overlap = f"how far the network sees is not known (operator {facts.because})", quarter
    elif facts.whole:
        reason, overlap = f"{facts.whole} reads the whole picture", min(overlap, quarter)
    elif min(size) < 2 * overlap + 1:
        reason, overlap = f"the network sees {overlap} pixels far, too far for tiles of this size", quarter
    if reason:
        say(f"tiles give what is near the whole picture's result, not equal to it: {reason}")
    return TileRule(name, facts.scale, size, overlap, reason is None, reason, files)


def to_json(rule: TileRule) -> dict:
    """The content of tiles.json."""
    return {
        "$schema": SCHEMA,
        "schema_version": 1,
        "network": rule.network,
        "scale": rule.scale,
        "tile": {"height": rule.tile[0], "width": rule.tile[1]},
        "overlap": rule.overlap,
        "exact": rule.exact,
        "reason": rule.reason,
        "pixels": {"layout": "NHWC", "colour": "RGB", "type": "uint8"},
        "padding": {
            "when": "a side of the picture is shorter than the tile",
            "where": "below and to the right",
            "how": "mirror image that repeats the edge pixel (numpy's 'symmetric'), again and again if need be",
        },
        "cutting": {
            "count": "1 if length <= tile, else 1 + ceil((length - tile) / (tile - 2 * overlap))",
            "start": "start[i] = round(i * (length - tile) / (count - 1)), halves to the even number",
            "cut": "cut[0] = 0; cut[i] = floor((start[i - 1] + tile + start[i]) / 2); cut[count] = length",
            "kept": "of tile i the pixels cut[i] .. cut[i + 1] - 1, along each axis; the picture's own size is cropped",
        },
        "files": rule.files,
        "examples": [_example(rule, *size) for size in EXAMPLES],
    }


def _example(rule: TileRule, tall: float, wide: float) -> dict:
    """The tiles of one picture: rows and columns as [start, first kept, end of kept]."""
    height, width = max(1, round(rule.tile[0] * tall)), max(1, round(rule.tile[1] * wide))
    padded = max(height, rule.tile[0]), max(width, rule.tile[1])
    parts = plan_tiles(*padded, tile=rule.tile, overlap=rule.overlap)
    rows = sorted({(p.y, p.keep_y, p.keep_y_end) for p in parts})
    columns = sorted({(p.x, p.keep_x, p.keep_x_end) for p in parts})
    return {"height": height, "width": width, "rows": [list(r) for r in rows], "columns": [list(c) for c in columns]}


def write_tiles(folder: Path, rule: TileRule) -> None:
    """Writes tiles.json, its JSON Schema and the reference runner."""
    write_json(folder / PLAN, to_json(rule))
    package = resources.files("snpe_srgan.deploy")
    for name in (RUNNER, SCHEMA):
        write_text(folder / name, (package / "templates" / name).read_text("utf-8"))
