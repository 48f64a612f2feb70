"""The Snapdragon chips that the onnxruntime-qnn wheel can prepare a graph for, as data."""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Soc:
    """One chip: `id` is Qualcomm's soc_model; `estimates` tells whether its cost model is in the wheel."""

    id: int
    name: str
    marketing: str
    hexagon: int
    vtcm_mb: int
    estimates: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({self.marketing + ', ' if self.marketing else ''}Hexagon v{self.hexagon})"


SOCS = (
    Soc(30, "SM8350", "Snapdragon 888", 68, 4),
    Soc(36, "SM8450", "Snapdragon 8 Gen 1", 69, 8),
    Soc(42, "SM8475", "Snapdragon 8+ Gen 1", 69, 8),
    Soc(43, "SM8550", "Snapdragon 8 Gen 2", 73, 8),
    Soc(52, "SA8255P", "", 73, 8, estimates=True),
    Soc(57, "SM8650", "Snapdragon 8 Gen 3", 75, 8),
    Soc(60, "SC8380XP", "Snapdragon X Elite", 73, 8),
    Soc(66, "QCS8550", "", 73, 8),
    Soc(68, "SM8635", "Snapdragon 8s Gen 3", 73, 4),
    Soc(69, "SM8750", "Snapdragon 8 Elite", 79, 8),
    Soc(72, "SA8797", "", 81, 16, estimates=True),
    Soc(77, "QCS9100", "", 73, 8, estimates=True),
    Soc(86, "SM7750", "Snapdragon 7 Gen 4", 73, 4),
    Soc(87, "SM8850", "Snapdragon 8 Elite Gen 5", 81, 8),
    Soc(93, "QCS6490", "", 68, 2),
    Soc(103, "SM8975", "", 85, 12),
)
DEFAULT = 57


def _plain(text: object) -> str:
    return "".join(c for c in str(text).lower().replace("snapdragon", "") if c.isalnum() or c == "+")


def find(chip: int | str) -> Soc:
    """The chip of this id, part number or marketing name ('57', 'SM8650', '8 Gen 3'); UsageError names the nearest."""
    wanted = _plain(chip)
    for soc in SOCS:
        if wanted and wanted in (str(soc.id), _plain(soc.name), _plain(soc.marketing)):
            return soc
    names = [soc.name for soc in SOCS] + [soc.marketing.removeprefix("Snapdragon ") for soc in SOCS if soc.marketing]
    wanted = str(chip).removeprefix("Snapdragon ")
    raise UsageError(f"the chip '{chip}' is not known to the Hexagon tools", hint=did_you_mean(wanted, names))
