"""A float model with all that recipes need of it: its calibration pictures, its statistics, what it is judged on.

source = Source(resolve("generator.npz"), ["photos"], lr=False, count=16, minutes=20, say=print)
made = source.make(parse_recipe("w8a8"))
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snpe_srgan.calibration.crops import SIZE, Crops, calibration_crops, hr_pictures, is_drawn, is_nothing
from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.run import runner
from snpe_srgan.parallel import Jobs, ordered
from snpe_srgan.progress import SILENT, track
from snpe_srgan.quantization.judge.report import Report, dataset_loss
from snpe_srgan.quantization.recipe import Recipe, parse_recipe
from snpe_srgan.quantization.steps.run import Made, make_plan
from snpe_srgan.zoo.resolve import ModelFile

if TYPE_CHECKING:
    import onnx

    from snpe_srgan.onnx_graphs.boundary import Found
    from snpe_srgan.onnx_graphs.reach import Facts
    from snpe_srgan.quantization.graph.analytic import Moments

SIDE = 128  # LR pixels
PICTURES = 600  # decoded for fine-tuning


class Source:
    """A float model with all that recipes need of it; several recipes may be tried on one."""

    def __init__(self, file: ModelFile, calibration, *, lr: bool, count: int, minutes: float, say, size=None):
        """`size`: for a network that a chip can take at one size alone (`needs_a_size`)."""
        loaded = load_float(file, size=size)
        self.model, self.facts, self.moments, self.found, self.own_size = loaded
        self.calibration, self.minutes, self.say = calibration, minutes, say
        nothing = is_nothing(calibration)
        # Something must be looked at to say what was lost, even where nothing may be looked at to quantize.
        self.judged = fitted(self.facts, lambda size: calibration_crops(
            ("synthetic",) if nothing else calibration, scale=self.facts.scale, count=count, lr=lr, size=size
        ))  # fmt: skip
        self.crops: Crops | None = None if nothing else self.judged
        self.can_train = not (nothing or lr or is_drawn(calibration))
        say("calibration: none" if nothing else f"calibration: {self.judged.origin}")
        self.notes = (*_left_alone(self.model), *(() if nothing else self.judged.notes))
        for note in self.notes:
            say(note)

    def __getstate__(self) -> dict[str, object]:
        """For another process, where nobody listens."""
        return {**self.__dict__, "say": SILENT}

    @property
    def overlap(self) -> int | None:
        """By how much tiles must overlap to give what the whole picture gives; None where no tiles do."""
        return None if self.facts.whole else self.facts.overlap

    @property
    def origin(self) -> str:
        """The calibration in words, for cards and reports."""
        return "none: ranges from batch-norm statistics" if self.crops is None else self.crops.origin

    def make(self, recipe: Recipe) -> Made:
        """The quantization plan of a recipe, and what its steps did.

        Raises:
            UsageError: the recipe fine-tunes (`qat`), and there are no HR pictures to learn from.
        """
        if recipe.has("qat") and not self.can_train:
            raise UsageError(
                "fine-tuning learns from HR pictures", where=f"--recipe {recipe.name}", hint="--calibration FOLDER"
            )
        return make_plan(
            self.model, recipe, scale=self.facts.scale, crops=self.crops, moments=self.moments,
            finetune=self._finetune, say=self.say,
        )  # fmt: skip

    def _finetune(self, plan):
        from snpe_srgan.quantization.steps.finetune import finetune

        pictures = hr_pictures(self.calibration, scale=self.facts.scale, most=PICTURES)
        return finetune(plan, reference_model=self.model, pictures=pictures, minutes=self.minutes, say=self.say)

    def attempt(self, name: str, evaluate) -> Attempt:
        """One recipe of the ladder, and the dB that it loses on each data set, by simulation."""
        recipe = parse_recipe(name)
        made = self.make(recipe)
        runs = runner(self.model), runner(made.plan.quantized())
        scale, overlap = self.facts.scale, self.overlap
        losses = [dataset_loss(*runs, path, scale=scale, overlap=overlap, facts=self.facts) for path in evaluate]
        return (recipe, made), {loss.dataset: loss.lost for loss in losses}

    def judge(self, recipe: Recipe, made: Made, evaluate, *, jobs: Jobs = 1):
        """What a finished plan loses on the calibration crops and on data sets, by simulation.

        Args:
            evaluate: paths of data sets, as of `find_evaluation_set`.
            jobs: processes for the layers' sensitivities.

        Returns:
            (Report, Analysis).
        """
        from snpe_srgan.quantization.judge.analysis import analyse
        from snpe_srgan.quantization.judge.report import make_report

        self.say("measuring what was lost, layer by layer")
        exact = None if recipe.has("qat") else made.exact  # fine-tuned weights are not a rounding of the old ones
        with track(self.say, "measuring", unit="operator") as progress:
            analysis = analyse(
                made.plan, self.judged.arrays, reference=self.model, exact=exact, progress=progress.to, jobs=jobs
            )
        report = make_report(
            made.plan, analysis, self.judged, recipe=recipe.name, reference=self.model,
            scale=self.facts.scale, overlap=self.overlap, evaluate=evaluate, facts=self.facts,
        )  # fmt: skip
        return replace(report, calibration=self.origin), analysis

    def emulate(self, report: Report, quantized, rebuilt, evaluate, chip, picture: Path, overwrite: bool) -> Report:
        """The report with the emulator's judgement; writes the figure of both pictures.

        Args:
            quantized: the QDQ model that was simulated.
            rebuilt: the model that was read back from the .dlc: this one is emulated.
            evaluate: the data sets of `report.datasets`, in the same order.
            chip: the SoC's number or name that the emulator compiles for.
            picture: the figure's file.
            overwrite: whether that file may exist already.
        """
        from snpe_srgan.imaging.pictures import Picture
        from snpe_srgan.imaging.writing import write_picture
        from snpe_srgan.quantization.judge.on_emulator import judge_on_emulator, with_emulator

        self.say("judging on the Hexagon emulator")
        fixed = self.facts.input_size is not None
        common = {"scale": self.facts.scale, "overlap": self.overlap, "soc": chip, "fixed": fixed}
        judged, figure = judge_on_emulator(self.model, quantized, rebuilt, self.judged.arrays, **common)
        write_picture(picture, Picture(figure), overwrite=overwrite)
        datasets = with_emulator(report.datasets, evaluate, rebuilt, **common, say=self.say)
        return replace(report, emulator=judged, datasets=datasets)


def fitted(facts: Facts, cut: Callable[[int], Crops]) -> Crops:
    """Crops of a size that the network takes: its own where that is fixed, else a multiple of what it asks for; smaller
    pictures are continued by their mirror image."""
    if facts.input_size is None and facts.multiple == 1:
        return cut(SIZE)
    side = SIZE + -SIZE % facts.multiple
    height, width = facts.input_size or (side, side)
    crops = cut(max(height, width))

    def fit(array: np.ndarray) -> np.ndarray:
        array = array[:, :height, :width]
        while array.shape[1:3] != (height, width):  # a mirror image is no longer than what is mirrored
            rows, columns = (min(n, w - n) for n, w in zip(array.shape[1:3], (height, width), strict=True))
            array = np.pad(array, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="symmetric")
        return np.ascontiguousarray(array)

    return replace(crops, arrays=tuple(map(fit, crops.arrays)), calm=tuple(map(fit, crops.calm)))


def _left_alone(model: onnx.ModelProto) -> tuple[str, ...]:
    """What a user must know of operators without a record."""
    found = Network(model).left_alone
    words = ", ".join(f"{kind} ({count})" for kind, count in found.items())
    return (f"operators that equalization leaves alone, each with a grid of its own: {words}",) if found else ()


class FloatModel(NamedTuple):
    """A float ONNX model in our form that takes any size, its facts, the moments by its batch norms (or None), and what
    was found out about a foreign file's ends; `own_size` is what its file is fixed to, or None."""

    model: onnx.ModelProto
    facts: Facts
    moments: Mapping[str, Moments] | None
    found: Found | None
    own_size: tuple[int, int] | None = None


Attempt = tuple[tuple[Recipe, Made], dict[str, float]]


def attempts(source: Source, names: Sequence[str], evaluate, *, jobs: Jobs = 1) -> Generator[Attempt, None, None]:
    """`source.attempt` for each recipe, in order; in several processes those that come next are tried meanwhile.

    Args:
        names: recipes, as typed.
        evaluate: paths of data sets, as of `find_evaluation_set`.
        jobs: processes; 1 is this one.

    Yields:
        ((recipe, what was made), data set -> dB lost).
    """
    return ordered(_attempt, names, jobs=jobs, prepare=_given, arguments=(source, evaluate))


def _given(source: Source, evaluate):
    return source, evaluate


def _attempt(given, name: str) -> Attempt:
    source, evaluate = given
    return source.attempt(name, evaluate)


def load_float(file: ModelFile, *, size: tuple[int, int] | None = None) -> FloatModel:
    """The float network of any model file; `size` is for one that must have a size, SIDE a side without."""
    from snpe_srgan.onnx_graphs.model import input_size, onnx_facts
    from snpe_srgan.onnx_graphs.run import free_size
    from snpe_srgan.onnx_graphs.tidy import is_tidy, tidy
    from snpe_srgan.runtimes.source import load_source, say_found

    moments = None
    if file.kind == "pb":
        from snpe_srgan.onnx_graphs.adapt import adapt
        from snpe_srgan.onnx_graphs.from_tensorflow import pb_to_onnx

        model, found = pb_to_onnx(file.path), None
        model, found = adapt(model, where=file.path, said=file.known_ends)
        say_found(file, found)
        facts = onnx_facts(model, where=file.path)
    else:
        source = load_source(file)
        model, facts, found = source.graph, source.known, source.found
    if file.kind == "npz":
        from snpe_srgan.models.npz import load_npz
        from snpe_srgan.onnx_graphs.from_layers import needs_a_size, to_onnx
        from snpe_srgan.quantization.graph.analytic import batch_norm_statistics

        with contextlib.suppress(InputError):  # no batch norm: the steps that want one say so
            moments = batch_norm_statistics(*load_npz(file.path))
        if needs_a_size(load_npz(file.path)[0]):
            own = size or (SIDE, SIDE)
            model = to_onnx(*load_npz(file.path), input_size=own)
            return FloatModel(model, onnx_facts(model, where=file.path), None, None, own)
    if is_tidy(model):
        return FloatModel(free_size(model), facts, moments, found, facts.input_size)
    model = tidy(model, where=file.path)  # of free size, unless the graph holds its own
    return FloatModel(model, replace(facts, input_size=input_size(model)), moments, found, facts.input_size)
