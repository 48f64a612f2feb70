"""The stages of the main job, each with what it depends on, what it makes, and how.

data -> train [-> compress] -> evaluate -> freeze -> convert -> quantize -> run [-> deploy] -> benchmark -> report
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from snpe_srgan.artifacts.files import make_folder, write_json
from snpe_srgan.artifacts.locks import exclusive
from snpe_srgan.artifacts.own import require_own_folders
from snpe_srgan.artifacts.plain import to_plain
from snpe_srgan.artifacts.run_files import Files
from snpe_srgan.artifacts.staging import recover
from snpe_srgan.config import Config
from snpe_srgan.pipeline.checks import check
from snpe_srgan.pipeline.engine import Done, Stage, run_stages
from snpe_srgan.progress import track
from snpe_srgan.training.rundir import BUSY
from snpe_srgan.zoo.resolve import resolve

if TYPE_CHECKING:
    from snpe_srgan.console import Output


def run_pipeline(config: Config, folder: Path, *, output: Output, overwrite: bool = False) -> list[Done]:
    """Runs or continues the whole way of a config in `folder`; returns what happened to each stage.

    Args:
        folder: the run's; made where it is missing, and locked meanwhile.
        output: takes the progress.
        overwrite: whether a costly stage may replace what it made with other settings.

    Raises:
        SnpeSrganError: as of `checks.check` before anything is done, and what a stage raised.
    """
    check(config, folder)
    make_folder(folder)
    with exclusive(folder, BUSY):
        recover(folder)
        require_own_folders([folder / "pictures"])
        return run_stages(make_stages(config, folder, output), folder, output=output, overwrite=overwrite)


def make_stages(config: Config, folder: Path, output: Output) -> list[Stage]:
    """The stages, none of them run yet.

    Args:
        folder: the run's.
        output: takes the progress of the stages when they run.
    """
    files = Files(folder, config.quantize.recipe, _label(config))
    evaluated = (config.model.scale, config.data.root, config.evaluate)

    def stage(name: str, title: str, settings: object, inputs, outputs, make: Callable, **kwargs) -> Stage:
        return Stage(
            name, title, settings, tuple(inputs), tuple(outputs), lambda resumed: make(config, files, output, resumed),
            **kwargs,
        )  # fmt: skip

    f, compress = files, config.compress
    scores = [f.float_scores, f.bicubic_scores, *([f.full_scores] if compress else [])]
    shrunk = (compress, config.seed, config.model.scale, config.data, config.convert, config.benchmark)
    trained = (config.seed, config.model, config.discriminator, config.data, config.training)
    return [
        stage("data", "pictures, decoded once", (config.model.scale, config.data), [], [f.data], _data, always=True),
        stage("train", "train", trained, [f.data], [f.npz], _train, costly=True),
        *([stage("compress", f"compress to {compress.target}", shrunk, [f.npz, f.data], [f.compressed, f.compression],
                 _compress, costly=compress.finetune is not None)] if compress else []),
        stage("evaluate", "evaluate", evaluated, dict.fromkeys([f.npz, f.network]), scores, _evaluate),
        stage("freeze", "freeze", (), [f.network], [f.pb], _freeze),
        stage("convert", "convert", config.convert, [f.pb], [f.onnx, f.dlc], _convert),
        stage("quantize", "quantize", (config.quantize, config.convert, config.data.train), [f.onnx, f.data],
              [f.quantized_onnx, f.quantized_dlc, f.quantization], _quantize),
        stage("run", f"run the quantized .dlc on the {config.run.on}", (config.run, evaluated), [f.quantized_dlc],
              [f.quantized_scores], _run),
        *([stage("deploy", "bundle for phones", (config.deploy, config.quantize, config.convert, config.data.train),
                 [f.onnx, f.data], [f.bundle_list, f.proof], _deploy)] if config.deploy else []),
        stage("benchmark", "benchmark", config.benchmark, [f.pb, f.onnx, f.dlc, f.quantized_onnx,
              f.quantized_dlc], [f.benchmark], _benchmark),
        stage("report", "report", config.name, [f.network, *scores, f.quantized_scores, f.quantization, f.benchmark,
              *([f.compression] if compress else []), *([f.proof] if config.deploy else [])],
              [f.report_html, f.report_md], _report),
    ]  # fmt: skip


def _label(config: Config) -> str:
    if config.compress is None:
        return ""
    from snpe_srgan.compression.request import Request

    wanted = config.compress
    return Request.parse(target=wanted.target, ssvd=None, prune=None, strategy=wanted.strategy).label


def _data(config: Config, files: Files, output: Output, resumed: bool) -> None:
    from snpe_srgan.training.input import content_key, training_cache
    from snpe_srgan.training.networks import read_networks

    if not files.npz.exists():
        read_networks(config)  # a missing teacher is an error before hours of decoding
    cache = training_cache(config, output)
    facts = {"pictures": len(cache), "hr_pixels": cache.pixels, "content": content_key(cache)}
    write_json(files.data, facts, overwrite=True)


def _train(config: Config, files: Files, output: Output, resumed: bool) -> None:
    from snpe_srgan.quiet import import_tensorflow

    import_tensorflow()
    from snpe_srgan.training.run import train

    train(config, files.folder, resume=resumed, overwrite=not resumed, output=output, locked=True)


def _compress(config: Config, files: Files, output: Output, resumed: bool) -> None:
    from snpe_srgan.data.sources import find_pictures
    from snpe_srgan.stages.compress import CompressOptions, compress_model

    wanted = config.compress
    assert wanted is not None  # the stage is there because the config has it
    tuned = None if wanted.finetune is None else replace(config, training=wanted.finetune)
    pairs = find_pictures(
        wanted.calibration or config.data.train, root=config.data.root, split="train", scale=config.model.scale,
        say=output.note,
    )  # fmt: skip
    options = CompressOptions(
        target=wanted.target,
        strategy=wanted.strategy,
        multiple=wanted.multiple,
        calibration=pairs,
        count=wanted.count,
        finetune=tuned,
        resume=resumed and tuned is not None,
        input_size=config.convert.size,
        chip=config.benchmark.chip,
        runs=config.benchmark.runs,
        overwrite=True,
    )
    result = compress_model(files.npz, files.folder, options, output=output)
    for line in result.recommendation:
        output.note(f"  {line}")


def _scores(config: Config, files: Files, output: Output, session, kind: str, limit: int) -> dict:
    """Scores `session` on every evaluation set of the config and keeps its pictures in `pictures/<kind>/<set>/`."""
    from snpe_srgan.data.sources import source_folder
    from snpe_srgan.imaging.pictures import Picture, write_picture
    from snpe_srgan.metrics.dataset import find_evaluation_set
    from snpe_srgan.metrics.evaluate import evaluate
    from snpe_srgan.metrics.protocol import Protocol

    results = []
    for name in config.evaluate.datasets:
        data = find_evaluation_set(
            source_folder(name, config.data.root), scale=config.model.scale, name=Path(name).name
        )
        folder = files.pictures(kind) / data.name

        def save(picture: str, rgb, grey: bool, folder=folder) -> None:
            write_picture(folder / f"{picture}.png", Picture(rgb, grey=grey), overwrite=True)

        with track(output.say, f"  evaluating {kind} on {data.name}", unit="picture") as progress:
            result = evaluate(
                session,
                data,
                protocol=Protocol(config.evaluate.protocol),
                limit=limit or None,
                save=save,
                progress=progress.to,
            )
        output.note(f"  {data.name}: {result.mean.psnr:.2f} dB, bicubic {result.bicubic.psnr:.2f} dB ({result.engine})")
        results.append(result)
    return {"datasets": to_plain(results)}


def _evaluate(config: Config, files: Files, output: Output, resumed: bool) -> None:
    from snpe_srgan.runtimes.open import open_session

    limit = config.evaluate.limit
    write_json(files.bicubic_scores, _scores(config, files, output, None, "bicubic", limit), overwrite=True)
    if config.compress:
        with open_session(resolve(files.npz)) as session:
            write_json(files.full_scores, _scores(config, files, output, session, "full", limit), overwrite=True)
    with open_session(resolve(files.network)) as session:
        write_json(files.float_scores, _scores(config, files, output, session, "float", limit), overwrite=True)


def _freeze(config: Config, files: Files, output: Output, resumed: bool) -> None:
    from snpe_srgan.stages.convert import freeze_model

    freeze_model(files.network, files.pb, overwrite=True, say=output.note)


def _convert(config: Config, files: Files, output: Output, resumed: bool) -> None:
    from snpe_srgan.stages.convert import convert_model

    wanted = config.convert
    if wanted.toolchain == "snpe":
        from snpe_srgan.pipeline.sdk import convert_by_sdk

        convert_model(files.pb, files.folder, onnx_only=True, overwrite=True, say=output.note)
        convert_by_sdk(files, wanted, say=output.note)
        return
    convert_model(files.pb, files.folder, input_size=wanted.size, soc=wanted.soc, overwrite=True, say=output.note)


def _quantize(config: Config, files: Files, output: Output, resumed: bool) -> None:
    from snpe_srgan.data.sources import find_pictures
    from snpe_srgan.stages.quantize import QuantizeOptions, quantize_model

    wanted = config.quantize.calibration or config.data.train
    pairs = find_pictures(wanted, root=config.data.root, split="train", scale=config.model.scale, say=output.note)
    by_sdk = config.convert.toolchain == "snpe"
    options = QuantizeOptions(
        recipe=config.quantize.recipe,
        calibration=pairs,
        count=config.quantize.count,
        input_size=config.convert.size,
        soc=config.convert.soc,
        onnx_only=by_sdk,
        overwrite=True,
    )
    quantize_model(files.onnx, files.folder, options, say=output.note)
    if by_sdk:
        from snpe_srgan.pipeline.sdk import quantize_by_sdk

        quantize_by_sdk(files, config.convert, pairs, count=config.quantize.count, say=output.note)


def _run(config: Config, files: Files, output: Output, resumed: bool) -> None:
    from snpe_srgan.runtimes.open import open_session

    with open_session(resolve(files.quantized_dlc), on=config.run.on) as session:
        scores = _scores(config, files, output, session, "quantized", config.run.limit)
    write_json(files.quantized_scores, scores, overwrite=True)


def _deploy(config: Config, files: Files, output: Output, resumed: bool) -> None:
    from snpe_srgan.data.sources import find_pictures
    from snpe_srgan.deploy.bundle import deploy_model
    from snpe_srgan.toolchains.litert_targets import find_targets

    wanted = config.quantize.calibration or config.data.train
    pairs = find_pictures(wanted, root=config.data.root, split="train", scale=config.model.scale, say=output.note)
    deploy_model(
        resolve(files.onnx),
        files.bundle,
        targets=find_targets(config.deploy.targets if config.deploy else ()),
        recipe=config.quantize.recipe,
        calibration=pairs,
        count=config.quantize.count,
        input_size=config.convert.size,
        proof=config.deploy is not None and config.deploy.proof,
        overwrite=True,
        say=output.note,
    )


def _benchmark(config: Config, files: Files, output: Output, resumed: bool) -> None:
    from snpe_srgan.runtimes.benchmark import benchmark

    # The .onnx files stand for the .dlc ones: the same graph, but of any input size, so that no tiles are timed.
    timed = benchmark(
        [resolve(path) for path in (files.pb, files.onnx, files.quantized_onnx)],
        input_size=config.benchmark.size,
        runs=config.benchmark.runs,
        chip=config.benchmark.chip,
        say=output.note,
    )
    sizes = {path.name: path.stat().st_size for path in (files.dlc, files.quantized_dlc)}
    write_json(files.benchmark, {**to_plain(timed), "dlc_bytes": sizes}, overwrite=True)


def _report(config: Config, files: Files, output: Output, resumed: bool) -> None:
    from snpe_srgan.report.run import write_report

    write_report(config, files)
