"""The stage: a trained network in; a smaller one out, fine-tuned if asked for, with what it gave up and really saved.

result = compress_model("srgan.npz", "out", target="macs=0.5", calibration=["photos"], finetune="configs/finetune.yaml")
result.network                      # out/srgan_macs50.npz, which every later command takes
result.measured.host_speedup, result.recommendation
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from snpe_srgan.artifacts.card import read_card, source_of, write_card
from snpe_srgan.artifacts.files import make_folder, refuse_overwrite, require_writable, write_bytes, write_json
from snpe_srgan.artifacts.plain import to_plain
from snpe_srgan.artifacts.staging import unfinished
from snpe_srgan.calibration.crops import SAMPLE, check_sources
from snpe_srgan.compression import pricing
from snpe_srgan.compression.advice import advise
from snpe_srgan.compression.measure import Measured, measure
from snpe_srgan.compression.pictures import COUNT, find_crops
from snpe_srgan.compression.request import Request
from snpe_srgan.compression.result import Compression, Row, Tried
from snpe_srgan.compression.search import compress_network
from snpe_srgan.compression.tuning import Tuning, plan_tuning
from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.models.npz import load_npz, save_npz
from snpe_srgan.toolchains import qnn
from snpe_srgan.zoo.model_card import model_card
from snpe_srgan.zoo.resolve import ModelFile, resolve

if TYPE_CHECKING:
    from snpe_srgan.config import Config
    from snpe_srgan.console import Output
    from snpe_srgan.training.result import TrainResult


@dataclass(frozen=True)
class CompressResult:
    """What was written. `untuned` and `training` are None without fine-tuning; `rows` are what each unit gave up,
    `tried` the strategies compared, the one taken being `strategy`."""

    network: Path
    untuned: Path | None
    report: Path
    target: str
    strategy: str
    rows: tuple[Row, ...]
    tried: tuple[Tried, ...]
    calibration: str
    validation: str
    measured: Measured
    recommendation: tuple[str, ...]
    training: TrainResult | None
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Found:
    """A compressed network before fine-tuning, with the record for its card."""

    compression: Compression
    record: Mapping[str, object]


def compress_model(
    model: str | os.PathLike | ModelFile,
    out_dir: str | os.PathLike,
    *,
    target: str | None = None,
    ssvd: float | None = None,
    prune: float | None = None,
    strategy: str = "best",
    calibration: Sequence[str | os.PathLike] = (SAMPLE,),
    validation: Sequence[str | os.PathLike] = (),
    count: int = COUNT,
    multiple: int = 8,
    finetune: str | os.PathLike | Config | None = None,
    overrides: Sequence[str] = (),
    minutes: float | None = None,
    run_dir: str | os.PathLike | None = None,
    resume: bool = False,
    input_size: tuple[int, int] = (128, 128),
    chip: int | str = "SA8255P",
    runs: int = 5,
    overwrite: bool = False,
    output: Output | None = None,
) -> CompressResult:
    """Compresses a run folder's network or an `.npz`.

    Args:
        target: what is to be left: `macs=0.5`, `size=0.5`, or `latency=0.6` by Qualcomm's cost estimate.
        ssvd, prune: instead of a target, the share of MACs left after spatial SVD, and then after channel pruning.
        strategy: one of `strategies.STRATEGIES`, or 'best' of them on the validation pictures.
        calibration, validation: HR pictures, see `quantization.crops`; every other calibration picture is for
            validation when none are named.
        finetune: a train config (file, or loaded) with `overrides` and `minutes` applied; its network is left to us.
        run_dir: of the fine-tuning.
        resume: goes on with a fine-tuning that was interrupted; the search is not done again.
        input_size: LR size of the `.dlc` whose bytes are told, and of the estimate for `chip`.
        runs: timed turns on the host.
    """
    from snpe_srgan.console import Output

    output = output or Output(quiet=True)
    request = Request.parse(target=target, ssvd=ssvd, prune=prune, strategy=strategy, multiple=multiple)
    file = _float_network(model)
    folder = Path(out_dir)
    name = f"{file.stem}_{request.label}"
    final, report = folder / f"{name}.npz", folder / f"{name}.compression.json"
    untuned = final if finetune is None else folder / f"{name}_untuned.npz"
    if finetune is None and (overrides or minutes is not None or run_dir or resume):
        raise UsageError("--set, --minutes, --run-dir and --resume are for fine-tuning", hint="--finetune CONFIG")
    _refuse(final, untuned, report, resume=resume, overwrite=overwrite)
    require_writable(folder)
    check_sources(calibration)
    check_sources(validation)
    priced = qnn.available() is None
    if priced or request.needs_price:
        pricing.require(chip)
    graph, weights = load_npz(file.path)
    source = source_of(file.path)
    tuning = None
    run_dir = Path(run_dir or folder / f"{name}_finetune")
    resume = resume and untuned.exists()  # interrupted before the search ended: from the beginning
    if finetune is not None:
        tuning = plan_tuning(
            finetune, overrides=overrides, minutes=minutes, source=file.path, graph=graph, initial=untuned,
            run_dir=run_dir, resume=resume, overwrite=overwrite, output=output,
        )  # fmt: skip

    # With fine-tuning, --resume takes what is there; without it the network and its report come together or not at all.
    with unfinished(folder) if tuning is None else contextlib.nullcontext():
        found = _earlier(untuned, request, source) if resume else None
        if found is None:
            pictures = find_crops(calibration, validation, scale=graph.scale, count=count)
            output.note(f"calibration: {pictures.calibration.origin}")
            output.note(f"validation: {pictures.validation.origin}")
            compression = compress_network(
                graph, weights, target=request.target, ssvd=ssvd, prune=prune, strategy=strategy,
                crops=pictures.calibration.arrays, validation=pictures.validation.arrays, multiple=multiple,
                price=pricing.Pricer(input_size=input_size, chip=chip) if priced else None,
                say=output.note,
            )  # fmt: skip
            found = _Found(compression, _record(request, source, compression, pictures))
            make_folder(folder)
            _write(untuned, found, file, source, overwrite or resume)
        for note in found.record["notes"]:
            output.note(note)

        training = None
        if tuning is not None:
            training = _tune(tuning, final, found, file, source, overwrite or resume, output)
        measured = measure(file.path, final, input_size=input_size, chip=chip, runs=runs, say=output.note)
        compression = found.compression
        result = CompressResult(
            network=final,
            untuned=untuned if finetune is not None else None,
            report=report,
            target=request.text,
            strategy=compression.strategy,
            rows=compression.rows,
            tried=compression.tried,
            calibration=found.record["calibration"],
            validation=found.record["validation"],
            measured=measured,
            recommendation=advise(
                measured, compression.strategy, compression.rows, compression.tried, multiple=multiple
            ),
            training=training,
            notes=tuple(found.record["notes"]),
        )
        write_json(report, to_plain({**_plain(result), "source": source}), overwrite=overwrite)
        return result


def _plain(result: CompressResult) -> dict:
    paths = ("network", "untuned", "report")
    plain = {key: value for key, value in to_plain(result).items() if key not in paths}
    training = plain["training"]
    for path in ("run_dir", "generator"):  # of this machine
        if training is not None:
            training.pop(path)
    return {"network": result.network.name, **plain}


def _refuse(final: Path, untuned: Path, report: Path, *, resume: bool, overwrite: bool) -> None:
    """The report is written last: without it, what is there is an interrupted compression's."""
    if untuned != final and untuned.exists() and not report.exists() and not (resume or overwrite):
        raise InputError(
            "an earlier compression was not finished", where=untuned,
            hint="--resume goes on with it, --overwrite starts anew, -o chooses another folder",
        )  # fmt: skip
    for path in (report,) if resume else (final, report, untuned):
        refuse_overwrite(path, overwrite)


def _float_network(model: str | os.PathLike | ModelFile) -> ModelFile:
    file = model if isinstance(model, ModelFile) else resolve(model)
    if file.kind != "npz":
        raise InputError(
            f"a .{file.kind} file has no layers to rewrite: compress works on a run folder or .npz", where=file.path,
            hint="compress the .npz first, then freeze, convert and quantize what it gives",
        )  # fmt: skip
    return file


def _record(request: Request, source: Mapping[str, str], compression: Compression, pictures) -> dict[str, object]:
    """The compression as its card keeps it: enough to go on from."""
    return {
        **request.record(),
        "strategy": compression.strategy,
        "rows": to_plain(compression.rows),
        "tried": to_plain(compression.tried),
        "notes": [*pictures.notes, *compression.notes],
        "calibration": pictures.calibration.origin,
        "validation": pictures.validation.origin,
        "source_sha256": source["sha256"],
    }


def _earlier(path: Path, request: Request, source: Mapping[str, str]) -> _Found | None:
    """The compressed network that an interrupted run left; None when it had not come so far."""
    if not path.exists():
        return None
    card = read_card(path)
    record = dict(card.compression) if card else {}
    wanted = {**request.record(), "source_sha256": source["sha256"]}
    changed = [key for key, value in wanted.items() if record.get(key) != value]
    if changed:
        raise InputError(
            f"the compressed network there was made otherwise ({', '.join(changed)})", where=path,
            hint="--overwrite starts anew, -o chooses another folder",
        )  # fmt: skip
    try:
        tried, rows = (tuple(kind(**item) for item in record[key]) for kind, key in ((Tried, "tried"), (Row, "rows")))
        origins = {key: str(record[key]) for key in ("calibration", "validation")}
        compression = Compression(*load_npz(path), record["strategy"], rows, tried, tuple(record["notes"]))
        return _Found(compression, {**record, **origins})
    except (KeyError, TypeError) as error:
        raise InputError(
            "the card of the compressed network there is damaged", where=path, hint="--overwrite starts anew"
        ) from error


def _write(path: Path, found: _Found, file: ModelFile, source: Mapping[str, str], overwrite: bool) -> None:
    compression = found.compression
    training = file.card.training if file.card else None
    card = model_card(compression.graph, kind="npz", training=training, source=source)
    with unfinished(path.parent):
        save_npz(path, compression.graph, compression.weights, overwrite=overwrite)
        write_card(path, replace(card, compression=found.record), tools=("numpy",))


def _tune(tuning: Tuning, final: Path, found: _Found, file: ModelFile, source, overwrite, output) -> TrainResult:
    """Trains, and puts the result in place: its own card, with the training of the source and the compression."""
    training = tuning.run(output)
    card = read_card(training.generator)
    write_bytes(final, training.generator.read_bytes(), overwrite=overwrite)
    before = dict(file.card.training) if file.card else {}
    tuned = {**card.training, "initial": Path(tuning.config.model.initial).name}
    card = replace(card, training={**before, "finetune": tuned}, compression=found.record, source=dict(source))
    write_card(final, card)
    return training
