"""How long a network takes on a chip: a latency model of three terms, calibrated on published device times.

    estimate = estimator("SM8650")(work, "w8a8", pixels=128 * 128)
    estimate.ms, estimate.low, estimate.high        # milliseconds of one call; 9 in 10 lie between low and high

For each chip and precision: ms = call + pixels * (a * macs + b * large), with coefficients that cannot be negative and
least squares of relative errors (the first order of least squares of logarithms). `cross_validate` says how far it is
off on networks, and chips, that it was not fitted on; the bounds come from there. An estimate is never a measurement.

Published are times of one size (128x128) and precisions float and w8a8; of w8a16 only SRGAN's, so that w8a16 is w8a8
times SRGAN's factor. How much of a call does not grow with its pixels cannot be told from one size. So for other sizes
and batches the estimate is the mean of two readings, which the bounds hold: that all time grows with the pixels, and
that as much is paid once a call as the fastest published network takes.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from snpe_srgan.errors import SnpeSrganError
from snpe_srgan.planning.references import FAMILIES, references
from snpe_srgan.planning.work import Work, of_graph
from snpe_srgan.toolchains.chips import FLOATS, HTP, Chip
from snpe_srgan.toolchains.published import FLOAT, W8A8, W8A16, Device, Published, load

INNER = 0.9  # the share of cross-validated ratios that lies between the bounds


@dataclass(frozen=True)
class Coefficients:
    """Milliseconds: `call` of each call, `pixel_macs` and `pixel_large` of one unit of work on one LR pixel."""

    call: float
    pixel_macs: float
    pixel_large: float

    def ms(self, work: Work, pixels: float) -> float:
        """Milliseconds of one call on so many LR pixels."""
        return self.call + pixels * self.pixel(work)

    def pixel(self, work: Work) -> float:
        """Milliseconds of one LR pixel, without the call's own."""
        return self.pixel_macs * work.macs + self.pixel_large * work.large


@dataclass(frozen=True)
class Held:
    """One published time, and what the model says that was fitted without it. `ratio`: predicted over published."""

    network: str
    precision: str
    part: str
    published: float
    predicted: float

    @property
    def ratio(self) -> float:
        """Predicted over published: above 1 the model says too long."""
        return self.predicted / self.published


@dataclass(frozen=True)
class Validation:
    """What cross-validation found; `held` is every published time of float and w8a8 that could be held out."""

    held: tuple[Held, ...]

    @property
    def median_error(self) -> float:
        """The median of |predicted / published - 1|."""
        return statistics.median(abs(h.ratio - 1) for h in self.held)

    @property
    def worst_error(self) -> float:
        """The largest of |predicted / published - 1|."""
        return max(abs(h.ratio - 1) for h in self.held)

    def of(self, **wanted: str) -> Validation:
        """Those of one network, precision or part."""
        return Validation(tuple(h for h in self.held if all(getattr(h, k) == v for k, v in wanted.items())))

    def bounds(self) -> tuple[float, float]:
        """(low, high): what a prediction is multiplied with, so that `INNER` of the published times lie between."""
        tail = (1 - INNER) / 2
        small, great = np.quantile([h.ratio for h in self.held], [tail, 1 - tail])
        return 1 / float(great), 1 / float(small)


@dataclass(frozen=True)
class Estimate:
    """Milliseconds of one call, and between what 9 in 10 cross-validated times lie."""

    ms: float
    low: float
    high: float


@functools.cache
def works() -> dict[str, Work]:
    """The published networks' work."""
    return {name: of_graph(graph) for name, graph in references().items()}


def fit(times: Mapping[str, float], *, pixels: int) -> Coefficients:
    """Non-negative least squares of relative errors.

    Args:
        times: published network -> milliseconds; three or more.
        pixels: LR pixels of one call.
    """
    from scipy.optimize import nnls

    rows = np.array([[1.0, pixels * works()[name].macs, pixels * works()[name].large] for name in times])
    ms = np.array(list(times.values()))
    units = rows.max(axis=0)
    found, _ = nnls(rows / units / ms[:, None], np.ones(len(ms)))
    return Coefficients(*(float(c) for c in found / units))


def _middle(values: Iterable[float]) -> float:
    """The geometric mean; 0 when one of them is."""
    listed = list(values)
    return statistics.geometric_mean(listed) if min(listed) > 0 else 0.0


def _times(published: Published, precision: str, part: str, *, without: str | None = None) -> dict[str, float]:
    """A device's times; `without` leaves out that network or family."""
    rows = {name: published.ms(name, precision, part) for name in published.times}
    return {n: ms for n, ms in rows.items() if ms is not None and without not in (n, FAMILIES.get(n, n))}


@functools.cache
def cross_validate(*, other_chip: bool = False, family: bool = False) -> Validation:
    """Each published time of float and w8a8 predicted by a fit that did not see it.

    Args:
        other_chip: the whole device is left out as well, and the nearest other device's fit stands in for it.
        family: the siblings of the network are left out with it.
    """
    published = load()
    pixels = published.size[0] * published.size[1]
    held = []
    for precision in (FLOAT, W8A8):
        for device in published.devices:
            for network, ms in _times(published, precision, device.part).items():
                without = FAMILIES.get(network, network) if family else network
                parts = [device.part]
                if other_chip:
                    others = [d for d in published.devices if d.part != device.part]
                    parts = [d.part for d in nearest_devices(device.hexagon, device.vtcm_mb, precision, others)]
                fits = [fit(_times(published, precision, part, without=without), pixels=pixels) for part in parts]
                predicted = _middle(c.ms(works()[network], pixels) for c in fits)
                held.append(Held(network, precision, device.part, ms, predicted))
    return Validation(tuple(held))


def nearest_devices(hexagon: int, vtcm_mb: int | None, precision: str, among: Iterable[Device]) -> list[Device]:
    """The devices with times in that precision that are nearest: by Hexagon version first, then by VTCM; all that are
    equally near.

    Args:
        hexagon: the chip's version, 73 for v73.
        vtcm_mb: None where it is not known: devices then differ by their version alone.
        precision: one of `published.PRECISIONS`.

    Raises:
        ValueError: none of the devices has times in that precision.
    """
    able = [d for d in among if load().ms("srgan", precision, d.part) is not None]

    def distance(device: Device) -> tuple[int, int]:
        return abs(device.hexagon - hexagon), abs(device.vtcm_mb - (vtcm_mb or device.vtcm_mb))

    least = min(map(distance, able))
    return [device for device in able if distance(device) == least]


@functools.cache
def _fitted(precision: str, part: str) -> Coefficients:
    """The fit on all published times of a device."""
    published = load()
    return fit(_times(published, precision, part), pixels=published.size[0] * published.size[1])


@dataclass(frozen=True)
class Estimator:
    """Callable: (work, precision, pixels) -> Estimate for one chip.

    `sources`: precision -> the devices whose times it rests on; `own`: precision -> whether they are this chip's own.
    """

    chip: Chip
    sources: Mapping[str, tuple[Device, ...]]
    own: Mapping[str, bool]

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that the chip can be given an estimate in."""
        return tuple(self.sources)

    def validation(self, precision: str) -> Validation:
        """The cross-validation that speaks for an estimate in this precision (that of w8a8, for w8a16)."""
        base = W8A8 if precision == W8A16 else precision
        return cross_validate(other_chip=not self.own[precision]).of(precision=base)

    def coefficients(self, precision: str) -> list[Coefficients]:
        """One set for each device that it rests on."""
        base = W8A8 if precision == W8A16 else precision
        return [_fitted(base, d.part) for d in self.sources[precision]]

    def __call__(self, work: Work, precision: str, *, pixels: int) -> Estimate:
        """Milliseconds of one call on so many LR pixels (of a tile, or of a batch of them)."""
        published = load()
        at = published.size[0] * published.size[1]
        found = self.coefficients(precision)
        at_ms, share = _middle(c.ms(work, at) for c in found), pixels / at
        base = W8A8 if precision == W8A16 else precision
        fastest = _middle(min(_times(published, base, d.part).values()) for d in self.sources[precision])
        constant = min(at_ms, fastest)
        readings = at_ms * share, constant + (at_ms - constant) * share
        least, usual, most = published.widened() if precision == W8A16 else (1.0, 1.0, 1.0)
        low, high = self.validation(precision).bounds()
        return Estimate(
            _middle(readings) * usual, min(readings) * least * min(low, 1), max(readings) * most * max(high, 1)
        )

    def published(self, work: Work, precision: str) -> float | None:
        """The published milliseconds at 128x128 of a network of just this work on this very chip, if there are any."""
        names = [name for name, known in works().items() if known == work]
        if not names or not self.own[precision]:
            return None
        return load().ms(names[0], precision, self.sources[precision][0].part)

    def words(self, precision: str) -> str:
        """What an estimate in this precision rests on, for people."""
        error = self.validation(precision).median_error
        unseen = "networks" if self.own[precision] else "networks and chips"
        text = f"estimate, calibrated on published times; median error {error:.0%} on {unseen} it was not fitted on"
        if precision == W8A16:
            _, usual, _ = load().widened()
            text += f" in w8a8; w8a16 is w8a8 times {usual:.1f}, the factor of SRGAN: no other network's is published"
        if not self.own[precision]:
            names = " and ".join(f"{d.device} (Hexagon v{d.hexagon}, {d.vtcm_mb} MB)" for d in self.sources[precision])
            text += f"; {self.chip} has no published {precision} times, the nearest that has: {names}"
        return text


def estimator(chip: Chip) -> Estimator:
    """The latency model of a chip: its own published times, or those of the nearest chip.

    Raises:
        SnpeSrganError: the chip has no tensor processor, so that no published time is near.
    """
    if chip.hexagon is None or chip.hexagon < HTP:
        dsp = f"a Hexagon v{chip.hexagon} without" if chip.hexagon else "no DSP runtime and"
        raise SnpeSrganError(
            f"{chip} has {dsp} tensor processor: no published time is near", where="--chip",
            hint="a chip of Hexagon v68 or later: snpe-srgan devices lists them",
        )  # fmt: skip
    published = load()
    sources: dict[str, tuple[Device, ...]] = {}
    own: dict[str, bool] = {}
    for precision in (FLOAT, W8A8, W8A16):
        if precision == FLOAT and chip.hexagon < FLOATS:
            continue
        mine = [
            d for d in published.devices
            if chip.part in (d.part, *d.stands_for) and published.ms("srgan", precision, d.part) is not None
        ]  # fmt: skip
        own[precision] = bool(mine)
        sources[precision] = tuple(mine or nearest_devices(chip.hexagon, chip.vtcm_mb, precision, published.devices))
    return Estimator(chip, sources, own)
