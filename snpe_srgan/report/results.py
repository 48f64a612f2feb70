"""What a run folder holds, as typed values: one reader for each kind of file.

A file that is damaged is an `InputError` that names the file and the place in it. The training's log may be absent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from snpe_srgan.artifacts.card import Card
from snpe_srgan.artifacts.files import read_json
from snpe_srgan.artifacts.typed import typed
from snpe_srgan.compression.measure import Measured
from snpe_srgan.compression.result import Row
from snpe_srgan.errors import InputError
from snpe_srgan.metrics.evaluate import Evaluation
from snpe_srgan.opener import read_text
from snpe_srgan.runtimes.benchmark import Benchmark

LOG_BYTES = 1 << 28


@dataclass(frozen=True)
class Scores:
    """`evaluation_*.json`: one model on every evaluation set."""

    datasets: tuple[Evaluation, ...]

    def of(self, dataset: str) -> Evaluation | None:
        """What was measured on a set, by its name; None where it was not evaluated."""
        return next((data for data in self.datasets if data.dataset == dataset), None)


@dataclass(frozen=True)
class CompressionFile:
    """`*.compression.json`: what was measured before and after, and what each unit gave up."""

    target: str
    calibration: str
    validation: str
    measured: Measured
    rows: tuple[Row, ...]
    recommendation: tuple[str, ...]


@dataclass(frozen=True)
class TrainedStage:
    """A stage of the training, as the network's card has it."""

    name: str
    steps: int
    seconds: float = 0.0


@dataclass(frozen=True)
class _Training:
    stages: tuple[TrainedStage, ...] = ()


@dataclass(frozen=True)
class ProofLine:
    """What one file of a bundle for phones drew; `unproven` says why that is not known."""

    path: str
    chip: str | None
    bytes: int
    unproven: str | None = None
    psnr_to_float: float | None = None
    worst: int | None = None
    reloads: bool | None = None


@dataclass(frozen=True)
class ProofFile:
    """`bundle/proof.json`."""

    proofs: tuple[ProofLine, ...]


@dataclass(frozen=True)
class LogLine:
    """A line of `metrics.jsonl`. `step` counts from the start of its stage; a value that was not finite is None."""

    kind: str
    stage: str
    step: Annotated[int, Field(ge=0, lt=1 << 53)]
    values: Mapping[str, Annotated[float, Field(allow_inf_nan=False)] | None]


def read_scores(path: str | os.PathLike) -> Scores:
    """PSNR and SSIM of every picture."""
    return typed(Scores, _without_none_psnr(read_json(path)), where=path)


def read_benchmark(path: str | os.PathLike) -> Benchmark:
    """Size, time and memory of every artifact."""
    return typed(Benchmark, read_json(path), where=path)


def read_compression(path: str | os.PathLike) -> CompressionFile:
    """What a compression saved and cost."""
    return typed(CompressionFile, read_json(path), where=path)


def trained_stages(card: Card) -> tuple[TrainedStage, ...]:
    """The stages that a card says the network was trained by; none where it says nothing."""
    return typed(_Training, dict(card.training), where=f"the card of {card.artifact}").stages


def read_proof(path: str | os.PathLike) -> ProofFile:
    """What was proven of a bundle for phones."""
    return typed(ProofFile, read_json(path), where=path)


def read_log(path: str | os.PathLike) -> tuple[LogLine, ...] | None:
    """The training's log; None where there is none.

    A last line without a line end is still being written, or was cut by a kill: it is left out.
    """
    if not os.path.isfile(path):
        return None
    *lines, _unfinished = read_text(path, limit=LOG_BYTES, doing="read the training's log").split("\n")
    return tuple(_log_line(line, f"{path}, line {number}") for number, line in enumerate(lines, 1))


def _log_line(line: str, where: str) -> LogLine:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the training's log is damaged: {error}"[:200], where=where) from error
    if not isinstance(data, dict):
        raise InputError("the training's log is damaged: no object", where=where)
    head = {key: data.pop(key, None) for key in ("kind", "stage", "step")}
    return typed(LogLine, {**head, "values": data}, where=where)


def _without_none_psnr(value: object) -> object:
    """JSON knows no infinity: equal pictures have the PSNR null in the file."""
    if isinstance(value, dict):
        return {k: float("inf") if k == "psnr" and v is None else _without_none_psnr(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_none_psnr(v) for v in value]
    return value
