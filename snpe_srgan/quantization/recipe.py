"""Recipes: what `--recipe` names, as data. The grammar is `w<weight bits>a<activation bits>[-step]...`.

    parse_recipe("w8a8")                  # the recommended steps for these bits
    parse_recipe("w8a8-cle-bc")           # just these steps
    parse_recipe("w8a8-plain")            # none: rounding to nearest on calibrated ranges

The order in which steps are typed does not matter: they are done in the order of STEPS, which says of each what it
needs; `steps/run.py` holds what each does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from snpe_srgan.errors import UsageError, did_you_mean

AUTO = "auto"
PLAIN = "plain"


@dataclass(frozen=True)
class Step:
    """One step of a recipe: the place in STEPS is the order in which steps are done.

    Attributes:
        text: what it does, for `quantize --list`.
        pictures: whether it needs calibration pictures.
        moments: whether it needs the statistics of batch norms.
        choice: steps of one choice exclude each other.
        value: what the choice is then, for code.
    """

    name: str
    text: str
    pictures: bool = False
    moments: bool = False
    choice: str | None = None
    value: str | None = None


STEPS = {
    step.name: step
    for step in (
        Step("cle", "cross-layer equalization of the weights (Nagel et al. 2019), over residual trunks too; needs no "
             "picture", choice="equalization"),
        Step("eq", "equalization for least rounding error of the picture, from what flows through the network",
             pictures=True, choice="equalization"),
        Step("absorb", "high-bias absorption (Nagel et al. 2019); needs a network with batch norm", moments=True),
        Step("minmax", "ranges: all that was seen", pictures=True, choice="ranges", value="min_max"),
        Step("percentile", "ranges: all but 1 value in 10,000", pictures=True, choice="ranges", value="percentile"),
        Step("mse", "ranges: least squared error of each tensor (SQNR search)", pictures=True, choice="ranges",
             value="mse"),
        Step("decibel", "ranges: least dB lost, crop by crop, weighted by the network's derivative (the default)",
             pictures=True, choice="ranges", value="decibel"),
        Step("perchannel", "one weight scale for each output channel (the default)", choice="scales"),
        Step("pertensor", "one weight scale for a whole kernel, as SNPE 1.x has it", choice="scales"),
        Step("search", "tries the ranges that lose most wider and narrower on the finished picture", pictures=True),
        Step("mixed", "16 bits for the tensors that gain most for what they cost", pictures=True),
        Step("abc", "bias correction, analytic: from batch-norm statistics, no picture", moments=True,
             choice="correction"),
        Step("bc", "bias correction, empirical: mean shifts repaired layer by layer through the whole network",
             pictures=True, choice="correction"),
        Step("adaround", "learned rounding of the weights on calibration patches (Nagel et al. 2020)", pictures=True),
        Step("qat", "quantization-aware fine-tuning in TensorFlow: --minutes", pictures=True),
    )
}  # fmt: skip
RECOMMENDED = {
    # bits -> steps, and what they are good for
    "w8a8": (("eq", "bc", "adaround"), "8-bit weights and activations: smallest and fastest on the DSP"),
    "w8a16": (("eq", "minmax", "bc", "adaround"), "8-bit weights, 16-bit activations: hardly any loss"),
    "w4a16": (("eq", "minmax", "bc", "adaround"), "4-bit weights, 16-bit activations"),
}
DEFAULT = "w8a8"
# What `auto` tries, cheapest first.
LADDER = ("w8a8-plain", "w8a8-cle-bc", "w8a8", "w8a8-eq-bc-adaround-mixed", "w8a16")


@dataclass(frozen=True)
class Recipe:
    """Bits of the weights (signed) and of the activations (unsigned), and the steps in the order they are done."""

    name: str
    weight_bits: int
    activation_bits: int
    steps: tuple[str, ...]

    def has(self, step: str) -> bool:
        """Whether the recipe contains a step, by its name in STEPS."""
        return step in self.steps

    @property
    def crops(self) -> int:
        """Calibration crops of 48x48: rounding to few bits has more to learn, and overfits 16."""
        return 16 if self.weight_bits >= 8 else 40

    @property
    def estimator(self) -> str:
        """How activation ranges are chosen, one of `encodings.ESTIMATORS`."""
        return next((STEPS[s].value or "" for s in self.steps if STEPS[s].choice == "ranges"), "decibel")


def parse_recipe(name: str) -> Recipe:
    """The recipe of a name; `UsageError` says what is wrong with it."""
    bits, _, rest = name.strip().lower().partition("-")
    if bits not in RECOMMENDED:
        hint = did_you_mean(bits, RECOMMENDED) if re.fullmatch(r"w\d+a\d+|\w+", bits) else "as in w8a8-cle-bc"
        raise UsageError(f"unknown recipe '{name}'", where="--recipe", hint=hint)
    steps = tuple(rest.split("-")) if rest else RECOMMENDED[bits][0]
    if steps == (PLAIN,):
        steps = ()
    for step in steps:
        if step not in STEPS:
            raise UsageError(
                f"unknown step '{step}' in '{name}'", where="--recipe", hint=did_you_mean(step, [*STEPS, PLAIN])
            )
    if len(set(steps)) < len(steps):
        raise UsageError(f"'{name}' names a step twice", where="--recipe")
    ordered = tuple(s for s in STEPS if s in steps)
    for choice in {STEPS[s].choice for s in ordered} - {None}:
        if len(both := [s for s in ordered if STEPS[s].choice == choice]) > 1:
            raise UsageError(
                f"'{name}' names both {' and '.join(both)}", where="--recipe", hint="they exclude each other"
            )
    weight_bits, activation_bits = map(int, re.findall(r"\d+", bits))
    return Recipe("-".join([bits, *(rest.split("-") if rest else [])]), weight_bits, activation_bits, ordered)
