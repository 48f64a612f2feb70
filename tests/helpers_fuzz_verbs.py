"""What the kinds of damaged files share: a verb run on one, a small network, a photo."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from helpers_cli import snpe_srgan
from helpers_fuzz import Unforeseen

from snpe_srgan.errors import SnpeSrganError


def verb(*arguments: object) -> None:
    """Runs a verb; SnpeSrganError when it refuses, Unforeseen when it does not know what has happened."""
    outcome = snpe_srgan(*arguments)
    if "again with -v" in outcome.err or "Traceback" in outcome.err:
        raise Unforeseen(f"{arguments[0]}: {outcome.err.strip()[-250:]}")
    if outcome.code:
        raise SnpeSrganError(outcome.err.strip().splitlines()[0] if outcome.err.strip() else "no word")
    if "--json" in arguments:
        json.loads(outcome.out)


def photo(folder: Path) -> Path:
    from PIL import Image

    path = folder / "photo.png"
    if not path.exists():
        pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    return path


def network(name: str):
    from helpers_networks import TINY, random_weights

    from snpe_srgan.models.registry import describe

    graph = describe(name, TINY[name], scale=4)
    return graph, random_weights(graph, np.random.default_rng(0))
