"""Which Snapdragon runs which runtime: Table 1 of the paper, and the chips since, as data.

    chip = find("845")           # or "SDM845", "Snapdragon 845", "Pixel 3"
    chip.dsp, chip.aip, chip.hexagon

Table 1 repeats Qualcomm's "Snapdragon Device Support Matrix" of SNPE 1.x; `table_1` marks its chips. The paper's own
page was not at hand. Compared row by row with that matrix as the reference guides of SNPE 1.17 and 2.5 print it: 855,
845, 835, 821, 820, 710, 660, 652, 636, 630, 625 and 450 are marked as there. 653, 650 and 626 stand in the same list
(quoted in TensorFlow's issue 17526) without their marks; for 670 no such list was found: it has the 710's Hexagon 685.
The DSPs of 855, 845 / 710, 835 and 660 / 821 / 820 are 690, 685, 682, 680 (TensorFlow Lite's list for its Hexagon
delegate), which is v66, v65, v62, v60.

`dsp` is the Hexagon vector unit (HVX, up to v66) or the tensor processor (HTP, from v68), `aip` the tensor accelerator
beside it (HTA) that only some chips of 2018 to 2020 have: on later ones the HTP takes both parts. The phones are
examples, a few of many. What the onnxruntime-qnn wheel can compile for (SoC id, VTCM, cost model) stands in `socs.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.errors import UsageError, nearest
from snpe_srgan.toolchains import socs

HTP = 68  # the first Hexagon with a tensor processor
SNPE_2 = 65  # the first Hexagon that SNPE 2 has a DSP library for
FLOATS = 69  # the first Hexagon that computes in floats


@dataclass(frozen=True)
class Chip:
    """One chip. `hexagon` is None where SNPE has no DSP runtime; `vtcm_mb` and `soc` (the wheel's) from the HTP on."""

    name: str
    part: str
    dsp: bool
    aip: bool
    hexagon: int | None
    phones: tuple[str, ...] = ()
    table_1: bool = False
    vtcm_mb: int | None = None
    soc: socs.Soc | None = None

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Every chip here has the CPU and the GPU runtime."""
        return ("cpu", "gpu", *(("dsp",) if self.dsp else ()), *(("aip",) if self.aip else ()))

    def __str__(self) -> str:
        return f"{self.name} ({self.part})" if self.name != self.part else self.name


def _old(name: str, part: str, hexagon: int | None, phones: str, *, aip: bool = False, table_1: bool = True) -> Chip:
    names = tuple(phone for phone in phones.split(", ") if phone)
    return Chip(f"Snapdragon {name}", part, hexagon is not None, aip, hexagon, names, table_1)


PHONES = {
    "SM8350": "Xiaomi Mi 11, Galaxy S21",
    "SM8450": "Galaxy S22, Xiaomi 12",
    "SM8475": "Xiaomi 12S, Galaxy Z Fold4",
    "SM8550": "Galaxy S23, Xiaomi 13",
    "SM8650": "Galaxy S24 Ultra, Xiaomi 14",
    "SM8635": "Xiaomi Civi 4 Pro",
    "SM8750": "Galaxy S25, Xiaomi 15",
    "SM8850": "Xiaomi 17",
    "QCS6490": "Fairphone 5",
}
TABLE_1 = (
    _old("855", "SM8150", 66, "Xiaomi Mi 9, OnePlus 7, Pixel 4", aip=True),
    _old("845", "SDM845", 65, "Xiaomi Mi 8, OnePlus 6, Pixel 3"),
    _old("835", "MSM8998", 62, "Xiaomi Mi 6, OnePlus 5, Pixel 2"),
    _old("821", "MSM8996 Pro", 60, "Xiaomi Mi 5s, OnePlus 3T, Pixel"),
    _old("820", "MSM8996", 60, "Xiaomi Mi 5, OnePlus 3"),
    _old("710", "SDM710", 65, "Xiaomi Mi 8 SE"),
    _old("670", "SDM670", 65, "Pixel 3a"),
    _old("660", "SDM660", 60, "Xiaomi Mi A2, Nokia 7 Plus"),
    _old("653", "MSM8976 Pro", None, "OPPO R9s Plus"),
    _old("652", "MSM8976", None, "Xiaomi Mi Max"),
    _old("650", "MSM8956", None, "Redmi Note 3"),
    _old("636", "SDM636", None, "Redmi Note 5, Nokia 6.1 Plus"),
    _old("630", "SDM630", None, "Moto X4, Nokia 6.1"),
    _old("626", "MSM8953 Pro", None, "Moto Z2 Play"),
    _old("625", "MSM8953", None, "Redmi Note 4, Xiaomi Mi A1"),
    _old("450", "SDM450", None, "Redmi 5, Moto G6"),
)
BETWEEN = (
    _old("605", "QCS605", 65, "", table_1=False),  # in the matrix of SNPE 2.5; in cameras, not in phones
    _old("865", "SM8250", 66, "Xiaomi Mi 10, Galaxy S20", aip=True, table_1=False),
    _old("765G", "SM7250", 66, "Pixel 5", aip=True, table_1=False),
)
NEWER = tuple(
    Chip(
        name=soc.marketing or soc.name,
        part=soc.name,
        dsp=True,
        aip=False,
        hexagon=soc.hexagon,
        phones=tuple(phone for phone in PHONES.get(soc.name, "").split(", ") if phone),
        vtcm_mb=soc.vtcm_mb,
        soc=soc,
    )
    for soc in sorted(socs.SOCS, key=lambda soc: (-soc.hexagon, soc.name))
)
CHIPS = NEWER + BETWEEN + TABLE_1


def find(text: object) -> Chip:
    """The chip of this name, part number, SoC id or phone; UsageError names the nearest."""
    wanted = _plain(text)
    for chip in CHIPS:
        known = (chip.name, chip.part, *chip.phones, *((str(chip.soc.id),) if chip.soc else ()))
        if wanted and wanted in map(_plain, known):
            return chip
    names = [name for chip in CHIPS for name in (chip.name.removeprefix("Snapdragon "), chip.part, *chip.phones)]
    match = nearest(str(text).removeprefix("Snapdragon ").strip(), names)
    hint = (f"did you mean '{match}'? " if match else "") + "snpe-srgan devices lists all that are known"
    raise UsageError(f"the chip '{text}' is not known", hint=hint)


def _plain(text: object) -> str:
    return "".join(c for c in str(text).lower().replace("snapdragon", "") if c.isalnum() or c == "+")
