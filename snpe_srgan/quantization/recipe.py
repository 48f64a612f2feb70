"""Recipes: what `--recipe` names, as data. The grammar is `w<weight bits>a<activation bits>[-step]...`.

    parse_recipe("w8a8")                  # the recommended steps for these bits
    parse_recipe("w8a8-cle-bc")           # just these steps
    parse_recipe("w8a8-plain")            # none: rounding to nearest on calibrated ranges

The order in which steps are typed does not matter: they are done in the order of STEPS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from snpe_srgan.errors import UsageError, did_you_mean

AUTO = "auto"
PLAIN = "plain"
STEPS = {
    "cle": "cross-layer equalization of the weights (Nagel et al. 2019), over residual trunks too; needs no picture",
    "eq": "equalization for least rounding error of the picture, from what flows through the network",
    "absorb": "high-bias absorption (Nagel et al. 2019); needs a network with batch norm",
    "minmax": "ranges: all that was seen",
    "percentile": "ranges: all but 1 value in 10,000",
    "mse": "ranges: least squared error of each tensor (SQNR search)",
    "decibel": "ranges: least dB lost, crop by crop, weighted by the network's derivative (the default)",
    "perchannel": "one weight scale for each output channel (the default)",
    "pertensor": "one weight scale for a whole kernel, as SNPE 1.x has it",
    "search": "tries the ranges that lose most wider and narrower on the finished picture",
    "mixed": "16 bits for the tensors that gain most for what they cost",
    "abc": "bias correction, analytic: from batch-norm statistics, no picture",
    "bc": "bias correction, empirical: mean shifts repaired layer by layer through the whole network",
    "adaround": "learned rounding of the weights on calibration patches (Nagel et al. 2020)",
    "qat": "quantization-aware fine-tuning in TensorFlow: --minutes",
}
ESTIMATORS = {"minmax": "min_max", "percentile": "percentile", "mse": "mse", "decibel": "decibel"}
CHOICES = (tuple(ESTIMATORS), ("perchannel", "pertensor"), ("cle", "eq"), ("abc", "bc"))  # at most one of each
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
        return step in self.steps

    @property
    def crops(self) -> int:
        """Calibration crops of 48x48: rounding to few bits has more to learn, and overfits 16."""
        return 16 if self.weight_bits >= 8 else 40

    @property
    def estimator(self) -> str:
        """How activation ranges are chosen, one of `encodings.ESTIMATORS`."""
        named = [ESTIMATORS[s] for s in self.steps if s in ESTIMATORS]
        return named[0] if named else "decibel"


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
    for group in CHOICES:
        if len(both := [s for s in group if s in steps]) > 1:
            raise UsageError(
                f"'{name}' wants both {' and '.join(both)}", where="--recipe", hint="they exclude each other"
            )
    ordered = tuple(s for s in STEPS if s in steps)
    weight_bits, activation_bits = map(int, re.findall(r"\d+", bits))
    return Recipe("-".join([bits, *(rest.split("-") if rest else [])]), weight_bits, activation_bits, ordered)
