"""The stage: a trained network in; a smaller one out, fine-tuned if asked for, with what it gave up and really saved.

options = CompressOptions(target="macs=0.5", calibration=["photos"], finetune="configs/finetune.yaml")
result = compress_model("srgan.npz", "out", options)
result.network                      # out/srgan_macs50.npz, which every later command takes
result.measured.host_speedup, result.recommendation
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snpe_srgan.artifacts.card import read_card, source_of, write_card
from snpe_srgan.artifacts.files import make_folder, refuse_overwrite, require_writable, write_bytes, write_json
from snpe_srgan.artifacts.plain import to_plain
from snpe_srgan.artifacts.staging import unfinished
from snpe_srgan.calibration.crops import SAMPLE, Pictures, check_sources
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
    record: Mapping[str, Any]


@dataclass(frozen=True)
class CompressOptions:
    """How a network is compressed.

    Attributes:
        target: what is to be left: `macs=0.5`, `size=0.5`, or `latency=0.6` by Qualcomm's cost estimate.
        ssvd, prune: instead of a target, the share of MACs left after spatial SVD, and then after channel pruning.
        strategy: one of `strategies.STRATEGIES`, or 'best' of them on the validation pictures.
        calibration, validation: HR pictures, see `calibration.crops`; every other calibration picture is for
            validation when none are named.
        count: calibration crops.
        multiple: channel counts are kept at multiples of this.
        finetune: a train config (file, or loaded) with `overrides` and `minutes` applied; its network is left to us.
        run_dir: of the fine-tuning.
        resume: goes on with a fine-tuning that was interrupted; the search is not done again.
        input_size: LR size of the `.dlc` whose bytes are reported, and of the estimate for `chip`.
        runs: timed turns on the host.
    """

    target: str | None = None
    ssvd: float | None = None
    prune: float | None = None
    strategy: str = "best"
    calibration: Sequence[Pictures] = (SAMPLE,)
    validation: Sequence[str | os.PathLike] = ()
    count: int = COUNT
    multiple: int = 8
    finetune: str | os.PathLike | Config | None = None
    overrides: Sequence[str] = ()
    minutes: float | None = None
    run_dir: str | os.PathLike | None = None
    resume: bool = False
    input_size: tuple[int, int] = (128, 128)
    chip: int | str = "SA8255P"
    runs: int = 5
    overwrite: bool = False

    def request(self) -> Request:
        """What is asked for, checked; `UsageError` for what does not go together."""
        return Request.parse(
            target=self.target, ssvd=self.ssvd, prune=self.prune, strategy=self.strategy, multiple=self.multiple
        )


@dataclass(frozen=True)
class _Files:
    """Where a compression's files go: the network, the one before fine-tuning (the same without), the report."""

    final: Path
    untuned: Path
    report: Path
    run_dir: Path

    @classmethod
    def of(cls, file: ModelFile, folder: Path, options: CompressOptions) -> _Files:
        name = f"{file.stem}_{options.request().label}"
        final = folder / f"{name}.npz"
        untuned = final if options.finetune is None else folder / f"{name}_untuned.npz"
        run_dir = Path(options.run_dir or folder / f"{name}_finetune")
        return cls(final, untuned, folder / f"{name}.compression.json", run_dir)


def compress_model(
    model: str | os.PathLike | ModelFile,
    out_dir: str | os.PathLike,
    options: CompressOptions | None = None,
    *,
    output: Output | None = None,
) -> CompressResult:
    """Compresses a run folder's network or an `.npz`.

    Args:
        model: a path, a shipped network's name, or a resolved file with layers (`.npz`).
        out_dir: where everything is written.
        output: where progress is written.

    Raises:
        UsageError, InputError: before the first second of work, for everything that can be checked by then.
    """
    from snpe_srgan.console import Output

    options, output = options or CompressOptions(), output or Output(quiet=True)
    folder, request = Path(out_dir), options.request()
    file = _float_network(model, folder, options.overwrite, output)
    files = _Files.of(file, folder, options)
    priced = _check(files, folder, request, options)
    graph, weights = load_npz(file.path)
    source = source_of(file.path)
    resume = options.resume and files.untuned.exists()  # interrupted before the search ended: from the beginning
    replaced = options.overwrite or resume
    tuning = None
    if options.finetune is not None:
        tuning = plan_tuning(
            options.finetune, overrides=options.overrides, minutes=options.minutes, source=file.path, graph=graph,
            initial=files.untuned, run_dir=files.run_dir, resume=resume, overwrite=options.overwrite, output=output,
        )  # fmt: skip

    # With fine-tuning, --resume takes what is there; without it the network and its report come together or not at all.
    with unfinished(folder) if tuning is None else contextlib.nullcontext():
        found = _earlier(files.untuned, request, source) if resume else None
        if found is None:
            found = _search(graph, weights, request, source, options, priced, output)
            make_folder(folder)
            _write(files.untuned, found, file, source, replaced)
        for note in found.record["notes"]:
            output.note(note)
        training = None
        if tuning is not None:
            training = _tune(tuning, files.final, found, file, source, replaced, output)
        measured = measure(
            file.path, files.final, input_size=options.input_size, chip=options.chip, runs=options.runs,
            say=output.say,
        )  # fmt: skip
        result = _result(files, request, options, found, measured, training)
        write_json(files.report, to_plain({**_plain(result), "source": source}), overwrite=options.overwrite)
        return result


def _check(files: _Files, folder: Path, request: Request, options: CompressOptions) -> bool:
    """Everything that can be wrong with what was asked for, before any of it is done; whether there is a cost model."""
    tuned = options.overrides or options.minutes is not None or options.run_dir or options.resume
    if options.finetune is None and tuned:
        raise UsageError("--set, --minutes, --run-dir and --resume are for fine-tuning", hint="--finetune CONFIG")
    _refuse(files.final, files.untuned, files.report, resume=options.resume, overwrite=options.overwrite)
    require_writable(folder)
    check_sources(options.calibration)
    check_sources(options.validation)
    priced = qnn.available() is None
    if priced or request.needs_price:
        pricing.require(options.chip)
    return priced


def _search(
    graph, weights, request: Request, source: Mapping[str, str], options: CompressOptions, priced: bool, output: Output
) -> _Found:
    """The smaller network, not fine-tuned, with the record for its card."""
    pictures = find_crops(options.calibration, options.validation, scale=graph.scale, count=options.count)
    output.note(f"calibration: {pictures.calibration.origin}")
    output.note(f"validation: {pictures.validation.origin}")
    compression = compress_network(
        graph, weights, target=request.target, ssvd=options.ssvd, prune=options.prune, strategy=options.strategy,
        crops=pictures.calibration.arrays, validation=pictures.validation.arrays, multiple=options.multiple,
        price=pricing.Pricer(input_size=options.input_size, chip=options.chip) if priced else None,
        say=output.say,
    )  # fmt: skip
    return _Found(compression, _record(request, source, compression, pictures))


def _result(
    files: _Files, request: Request, options: CompressOptions, found: _Found, measured: Measured,
    training: TrainResult | None,
) -> CompressResult:  # fmt: skip
    compression = found.compression
    return CompressResult(
        network=files.final,
        untuned=files.untuned if options.finetune is not None else None,
        report=files.report,
        target=request.text,
        strategy=compression.strategy,
        rows=compression.rows,
        tried=compression.tried,
        calibration=found.record["calibration"],
        validation=found.record["validation"],
        measured=measured,
        recommendation=advise(
            measured, compression.strategy, compression.rows, compression.tried, multiple=options.multiple
        ),
        training=training,
        notes=tuple(found.record["notes"]),
    )


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
            hint="--resume continues it, --overwrite starts over, -o chooses another folder",
        )  # fmt: skip
    for path in (report,) if resume else (final, report, untuned):
        refuse_overwrite(path, overwrite)


def _float_network(model: str | os.PathLike | ModelFile, folder: Path, overwrite: bool, output: Output) -> ModelFile:
    """The network as layers: a graph (.onnx, .dlc) is first written as such, beside what is made of it."""
    file = model if isinstance(model, ModelFile) else resolve(model)
    if file.kind == "npz":
        return file
    if file.kind == "pb":
        raise InputError(
            "a .pb file has no layers to rewrite", where=file.path,
            hint="compress the .npz that it was frozen from, or import the .pb as an .onnx first",
        )  # fmt: skip
    from snpe_srgan.runtimes.source import load_source
    from snpe_srgan.zoo.foreign_graph import write_layers

    target = folder / f"{file.stem}.npz"
    refuse_overwrite(target, overwrite)
    require_writable(folder)
    source = load_source(file)
    write_layers(source.graph, file.path, target, source.found, overwrite=overwrite)
    output.note(f"{target}: the graph as layers, which are compressed")
    return resolve(target)


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
    record: dict[str, Any] = dict(card.compression) if card else {}
    wanted = {**request.record(), "source_sha256": source["sha256"]}
    changed = [key for key, value in wanted.items() if record.get(key) != value]
    if changed:
        raise InputError(
            f"the compressed network there was made otherwise ({', '.join(changed)})", where=path,
            hint="--overwrite starts over, -o chooses another folder",
        )  # fmt: skip
    try:
        tried, rows = tuple(Tried(**t) for t in record["tried"]), tuple(Row(**r) for r in record["rows"])
        origins = {key: str(record[key]) for key in ("calibration", "validation")}
        compression = Compression(*load_npz(path), record["strategy"], rows, tried, tuple(record["notes"]))
        return _Found(compression, {**record, **origins})
    except (KeyError, TypeError) as error:
        raise InputError(
            "the card of the compressed network there is damaged", where=path, hint="--overwrite starts over"
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
    card, initial = read_card(training.generator), tuning.config.model.initial
    assert card is not None and initial is not None  # both are of this run's own making
    write_bytes(final, training.generator.read_bytes(), overwrite=overwrite)
    before = dict(file.card.training) if file.card else {}
    tuned = {**card.training, "initial": Path(initial).name}
    card = replace(card, training={**before, "finetune": tuned}, compression=found.record, source=dict(source))
    write_card(final, card)
    return training
