"""Recipes: what `--recipe` names, as data. The grammar is `w<weight bits>a<activation bits>`.

recipe = parse_recipe("w8a8")
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Recipe:
    """Bits of the weights (signed, one scale a channel) and activations (unsigned, one grid a tensor)."""

    name: str
    weight_bits: int
    activation_bits: int
    estimator: str  # of the activations' ranges, see encodings.ESTIMATORS
    search: bool  # whether the ranges that lose most are then tried on the finished picture, see search.py
    description: str


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "w8a8", 8, 8, "decibel", True, "8-bit weights per channel, 8-bit activations: smallest and fastest on the DSP"
        ),
        Recipe("w8a16", 8, 16, "min_max", False, "8-bit weights per channel, 16-bit activations: hardly any loss"),
    )
}
DEFAULT = "w8a8"


def parse_recipe(name: str) -> Recipe:
    """The recipe of a name; `UsageError` lists what there is."""
    recipe = RECIPES.get(name.strip().lower())
    if recipe is None:
        raise UsageError(f"unknown recipe '{name}'", where="--recipe", hint=did_you_mean(name, RECIPES))
    return recipe
