"""The chips that LiteRT's Qualcomm compiler makes NPU code for, as data.

    targets = find_targets(["8 Gen 3", "SM8750"])       # all ten with `everything()`

`hexagon` is what the compiled code says of itself (ai-edge-litert 2.3.0 with QAIRT 2.51); for SM8475 that is v68, while
Qualcomm's chip table gives the chip a v69.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snpe_srgan.errors import UsageError, did_you_mean
from snpe_srgan.toolchains import chips, socs


@dataclass(frozen=True)
class Target:
    """One chip.

    Attributes:
        name: LiteRT's, e.g. SM8650.
        marketing: e.g. Snapdragon 8 Gen 3; empty for chips of cars.
        hexagon: the Hexagon version of the code that the compiler makes for it.
        phone: whether Google Play delivers an AI pack to it.
        soc: the same chip in the wheel's table, for .dlc caches and ready-compiled .onnx; None where it has none.
    """

    name: str
    marketing: str
    hexagon: int
    phone: bool
    soc: socs.Soc | None

    def __str__(self) -> str:
        return f"{self.name} ({self.marketing})" if self.marketing else self.name


def _target(name: str, marketing: str, hexagon: int, *, phone: bool = True, soc: str | None = "") -> Target:
    wheel = None if soc is None else socs.find(soc or name)
    return Target(name, marketing, hexagon, phone, wheel)


TARGETS = (
    _target("SA8255", "", 73, phone=False, soc="SA8255P"),
    _target("SA8295", "", 68, phone=False, soc=None),
    _target("SM8350", "Snapdragon 888", 68),
    _target("SM8450", "Snapdragon 8 Gen 1", 69),
    _target("SM8475", "Snapdragon 8+ Gen 1", 68),
    _target("SM8550", "Snapdragon 8 Gen 2", 73),
    _target("SM8650", "Snapdragon 8 Gen 3", 75),
    _target("SM8750", "Snapdragon 8 Elite", 79),
    _target("SM8845", "Snapdragon 8 Gen 5", 81, soc=None),
    _target("SM8850", "Snapdragon 8 Elite Gen 5", 81),
)
DEFAULT = ("SM8550", "SM8650", "SM8750", "SM8850")


def find_target(name: str) -> Target:
    """The target of a LiteRT name, a marketing name, a phone or a SoC id.

    Raises:
        UsageError: an unknown chip, or one that LiteRT makes no code for (Table 1's of 2018, say).
    """
    wanted = _plain(name)
    for target in TARGETS:
        if wanted and wanted in (_plain(target.name), _plain(target.marketing)):
            return target
    known = [t.name for t in TARGETS] + [t.marketing.removeprefix("Snapdragon ") for t in TARGETS if t.marketing]
    try:
        chip = chips.find(name)
    except UsageError:
        raise UsageError(f"the chip '{name}' is not known", hint=did_you_mean(name, known)) from None
    for target in TARGETS:
        if chip.soc is not None and target.soc == chip.soc:
            return target
    raise UsageError(
        f"LiteRT's compiler makes no NPU code for {chip}",
        hint="chips it knows: " + ", ".join(t.name for t in TARGETS) + "; a .dlc for others: convert --soc",
    )


def find_targets(names: Sequence[str], *, everything: bool = False) -> tuple[Target, ...]:
    """The targets of these names without repetition, in the table's order; DEFAULT for none."""
    if everything:
        return TARGETS
    wanted = {find_target(name).name for name in (names or DEFAULT)}
    return tuple(target for target in TARGETS if target.name in wanted)


def _plain(text: object) -> str:
    return "".join(c for c in str(text).lower().replace("snapdragon", "") if c.isalnum() or c == "+")
