"""`--recipe auto`: the cheapest recipe that loses no more than it may.

found = cheapest(("w8a8-plain", "w8a8", "w8a16"), attempt, max_drop=0.1)
found.tries[-1].recipe, found.tries[-1].drop
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from snpe_srgan.errors import CheckFailed


@dataclass(frozen=True)
class Try:
    """One recipe and the dB of PSNR that it lost on each data set."""

    recipe: str
    lost: Mapping[str, float]

    @property
    def drop(self) -> float:
        """dB lost on the worst of them."""
        return max(self.lost.values())


@dataclass(frozen=True, eq=False)
class Found:
    """What the last attempt gave, and all tries in order; the last one held."""

    result: Any
    tries: tuple[Try, ...]


def cheapest(
    recipes: Sequence[str],
    attempt: Callable[[str], tuple[Any, Mapping[str, float]]],
    *,
    max_drop: float,
    say: Callable[[str], None] = lambda text: None,
) -> Found:
    """Tries recipes in order and stops at the first whose drop is at most `max_drop` dB.

    Args:
        attempt: recipe -> (its result, data set -> dB lost).

    Raises:
        CheckFailed: none of them holds; the error names the best.
    """
    tries = []
    for recipe in recipes:
        result, lost = attempt(recipe)
        tries.append(latest := Try(recipe, lost))
        holds = latest.drop <= max_drop
        say(f"{recipe}: {latest.drop:.3f} dB lost, {'holds' if holds else f'more than {max_drop:g}'}")
        if holds:
            return Found(result, tuple(tries))
    best = min(tries, key=lambda t: t.drop)
    raise CheckFailed(
        f"no recipe loses at most {max_drop:g} dB; the best, {best.recipe}, loses {best.drop:.3f}",
        where="--max-drop",
        hint=f"--max-drop {best.drop + 0.005:.2f}, or --recipe {best.recipe.split('-')[0]}-eq-bc-adaround-qat",
    )
