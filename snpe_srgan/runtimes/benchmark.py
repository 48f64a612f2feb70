"""Table 3 of the paper: size, time and memory of each model on each host engine, and the estimate for the DSP.

    table = benchmark([resolve("gan.pb"), resolve("gan_w8a8.onnx")], input_size=(169, 255))

Each model-and-engine pair lives in a process of its own, so that peak memory is per engine. All are opened first and
then run in turns, so that a busy machine slows all alike: the speed-up over the baseline (TensorFlow on the frozen
float graph) is the median over the turns of the ratio within a turn.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from snpe_srgan import errors
from snpe_srgan.artifacts.staging import Scratch
from snpe_srgan.machine import installed, usable_threads
from snpe_srgan.runtimes.contender import ENGINES, Contender, Timing
from snpe_srgan.runtimes.source import load_source, settled
from snpe_srgan.zoo.resolve import ModelFile, resolve

DEFAULT_ENGINES = ("tensorflow", "openvino", "onnxruntime", "litert")
BASELINE = "tensorflow"
NOT_ASKED = "not asked for"


@dataclass(frozen=True)
class Estimate:
    """What Qualcomm's cost model says, never a measured latency: `label` says so and names the chip."""

    label: str
    input_size: tuple[int, int]
    microseconds: int
    lower: int
    upper: int
    remark: str | None = None


@dataclass(frozen=True)
class ModelBenchmark:
    path: Path
    kind: str
    bytes: int
    timings: tuple[Timing, ...]
    estimate: Estimate | None
    no_estimate: str | None  # why there is none


@dataclass(frozen=True)
class Benchmark:
    input_size: tuple[int, int]
    threads: int
    cpu: str
    runs: int
    baseline: str | None
    models: tuple[ModelBenchmark, ...]


def with_baseline(files: Sequence[ModelFile]) -> list[ModelFile]:
    """`files`, led by the frozen graph beside one of them when no .pb was given."""
    if not any(file.kind == "pb" for file in files):
        for file in files:
            beside = file.path.with_suffix(".pb")
            if file.kind == "npz" and beside.is_file():
                return [resolve(beside), *files]
    return list(files)


def choose_engines(file: ModelFile, wanted: Sequence[str] | None) -> list[str]:
    """The engines for a file: those asked for that take its kind, or all installed ones.

    Args:
        wanted: names of `contender.ENGINES`; None for those of `DEFAULT_ENGINES` that are installed.

    Raises:
        UsageError: a name is unknown.
        MissingToolError: an engine that was asked for, and takes this kind of file, is not installed.
    """
    for name in wanted or ():
        if name not in ENGINES:
            raise errors.UsageError(
                f"unknown engine '{name}'", where="--engines", hint=errors.did_you_mean(name, ENGINES)
            )
    names = [name for name in (wanted or DEFAULT_ENGINES) if file.kind in ENGINES[name][3]]
    if wanted:
        for name in names:
            if not installed(ENGINES[name][0]):
                package = ENGINES[name][0]
                raise errors.MissingToolError(f"the engine {name} is not installed", hint=f"pip install {package}")
    return [name for name in names if installed(ENGINES[name][0])]


def benchmark(
    files: Sequence[ModelFile],
    *,
    input_size: tuple[int, int] = (169, 255),
    runs: int = 10,
    warmup: int = 1,
    engines: Sequence[str] | None = None,
    threads: int | None = None,
    chip: int | str | None = "SA8255P",
    say: Callable[[str], None] = lambda text: None,
) -> Benchmark:
    """Times every file on every engine that takes it; `chip` None asks for no estimate.

    Args:
        input_size: (height, width) of the picture of noise, in LR pixels; a model of a smaller fixed size does it in
            tiles.
        runs: timed turns, each of one inference a pair.
        warmup: inferences before them that are not timed.
        engines: names of `contender.ENGINES`; None for those of `DEFAULT_ENGINES` that are installed.
        threads: of each engine; None for all processors that this process may use.
        chip: the chip that Qualcomm's cost model is asked about: id, part number or marketing name.
        say: told what is done just now.

    Returns:
        Seconds, not milliseconds, in the order of the turns; microseconds in the estimates.

    Raises:
        UsageError: an engine or chip is unknown, or no engine takes any of the files.
        MissingToolError: an engine that was asked for is not installed.
        InputError: a file cannot be read, or an engine refuses it.
        SnpeSrganError: an engine's process ended, most likely for want of memory.
    """
    from snpe_srgan.machine import cpu
    from snpe_srgan.toolchains import socs

    if chip is not None:
        socs.find(chip)  # a misspelt one is an error also where no estimate can be made
    threads, files = threads or usable_threads(), [settled(file) for file in files]
    pairs = [(file, name) for file in files for name in choose_engines(file, engines)]
    if not pairs:
        raise errors.UsageError(
            "none of these engines takes any of these models", hint="leave --engines out: all that fit are used"
        )
    estimates = [_estimate(file, input_size, chip, say) for file in files]
    timings: dict[tuple[Path, str], Timing] = {}
    with contextlib.ExitStack() as stack:
        contenders = []
        for file, name in pairs:
            say(f"opening {file.path.name} on {name}")
            contender = Contender(file, name, size=input_size, threads=threads, warmup=warmup)
            stack.callback(contender.close)
            contenders.append(contender)
        for turn in range(runs):
            say(f"run {turn + 1} of {runs}")
            first = turn % len(contenders)
            for contender in contenders[first:] + contenders[:first]:  # nobody always follows the same one
                contender.run()
        for contender in contenders:
            timings[contender.file.path, contender.name] = contender.timing()
    baseline = next((key for key in timings if key[1] == BASELINE), None)
    if baseline is not None:
        base = timings[baseline].seconds
        for key, timing in timings.items():
            ratios = [b / own for b, own in zip(base, timing.seconds, strict=True)]
            timings[key] = replace(timing, speedup=statistics.median(ratios))
    models = tuple(
        ModelBenchmark(
            path=file.path,
            kind=file.kind,
            bytes=file.path.stat().st_size,
            timings=tuple(timing for (path, _), timing in timings.items() if path == file.path),
            estimate=estimate,
            no_estimate=reason,
        )
        for file, (estimate, reason) in zip(files, estimates, strict=True)
    )
    named = None if baseline is None else f"{baseline[0].name} on {baseline[1]}"
    return Benchmark(input_size, threads, cpu()[0], runs, named, models)


def _estimate(file: ModelFile, size: tuple[int, int], chip, say) -> tuple[Estimate | None, str | None]:
    """The cost model's answer for a file at `size`, or why there is none."""
    from snpe_srgan.toolchains import qnn

    if chip is None:
        return None, NOT_ASKED
    if (reason := qnn.available()) is not None:
        return None, reason
    if file.kind == "tflite":
        return None, "the cost model takes no .tflite: see the row of the .onnx or .dlc, or the bundle's proof"
    if file.kind == "pb":
        return None, "the cost model takes no .pb: see the row of the .onnx or .dlc"
    from snpe_srgan.onnx_graphs.model import fix_size

    source = load_source(file)
    size = source.known.input_size or size
    say(f"asking the cost model about {file.path.name} at {size[0]}x{size[1]}")
    with Scratch() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(fix_size(source.graph, size, where=file.path).SerializeToString())
        try:
            cost = qnn.estimate_cost(path, chip=chip)
        except errors.UsageError:
            raise
        except errors.SnpeSrganError as error:
            return None, error.what
    return Estimate(cost.source, size, cost.microseconds, cost.lower, cost.upper, cost.remark), None
