"""A progress bar on stderr, or silence."""

from __future__ import annotations


def bar(*, total: int | None, what: str, unit: str, show: bool, initial: int = 0, count_bytes: bool = False):
    """A tqdm bar; with `show=False` it counts and draws nothing."""
    from tqdm import tqdm

    return tqdm(
        total=total,
        initial=initial,
        desc=what,
        unit=unit,
        unit_scale=count_bytes,
        unit_divisor=1000,
        disable=not show,
        dynamic_ncols=True,
    )
