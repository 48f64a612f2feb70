"""How far a network sees, how much it enlarges and how much memory it takes, read from its operators.

For a network of ours its layers say it; a `.dlc`, `.onnx` or `.pb`, whoever made it, has to be asked. An engine's graph
is told as a list of `Step`s, in executing order; the arithmetic of reaches is that of `models/operators.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from snpe_srgan.errors import InputError
from snpe_srgan.models.operators import Reach, after_repeat, after_window, widest

WHOLE = (
    "{} reads the whole picture: a tile has means of its own, so what tiles give is near the whole picture's result, "
    "not equal to it"
)
REPEATS = (  # nearest neighbour, as ONNX and OpenVINO say it: where a pixel lies and how its place is rounded
    ("asymmetric", "floor"),
    ("tf_half_pixel_for_nn", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
)  # by a whole number each pixel is repeated; any other pair moves the picture by a part of a pixel
LIVE_TENSORS = 3  # of the largest tensor, about what the engines hold at once (measured: 11.4 kB a pixel on SRGAN)


@dataclass(frozen=True)
class Step:
    """One operator on pictures.

    Attributes:
        kind: for messages, the engine's own name of the operator.
        output: name of its result.
        inputs: names of what it reads; those that do not come from the picture are ignored.
        size: (height, width, channels) of the result.
        window: pixels read (up, down, left, right) of the one computed, or None when it is not known.
        repeat: by how much the result is higher and wider than what is read.
        whole: it gives one value a channel, of all pixels.
    """

    kind: str
    output: str
    inputs: tuple[str, ...]
    size: tuple[int, int, int]
    window: tuple[int, int, int, int] | None = (0, 0, 0, 0)
    repeat: int = 1
    whole: bool = False


@dataclass(frozen=True)
class Facts:
    """What a caller must know to feed a model.

    `overlap` is None when an operator (`because`) makes the receptive radius unknown, so that only whole pictures
    can be run; `bytes_per_pixel` estimates the memory that one LR pixel takes. `whole` names an operator that reads the
    whole picture (a channel attention's mean): `overlap` is then what the other operators see. Height and width of the
    input must be whole multiples of `multiple` (a pixel unshuffle or a strided convolution makes small ones of it).
    """

    input_name: str
    output_name: str
    scale: int
    input_size: tuple[int, int] | None
    overlap: int | None
    bytes_per_pixel: int
    because: str | None = None
    whole: str | None = None
    multiple: int = 1

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the numbers do not say, for a card."""
        return (WHOLE.format(self.whole),) if self.whole else ()


def walk(
    steps: Iterable[Step], *, lr: str, sr: str, lr_size: tuple[int, int], sr_size: tuple[int, int, int], where: object
) -> tuple[int, int | None, int, str | None, str | None]:
    """(scale, receptive radius or None, bytes per LR pixel, the operator to blame for None, one that reads all).

    Args:
        steps: in executing order.
        lr, sr: names of the picture that goes in and of the one that comes out.
        lr_size: (height, width).
        sr_size: (height, width, channels).
        where: the file, for the error.

    Returns:
        The radius in LR pixels; it is None as soon as one operator's reach is not known. The bytes are an estimate of
        the memory that an engine takes, `LIVE_TENSORS` times the largest tensor as float32.

    Raises:
        InputError: the network does not enlarge RGB by a whole number from 1 to 16.
    """
    scale = _scale(lr_size, sr_size, where)
    reaches: dict[str, tuple[Reach, Reach]] = {lr: (((0, 0),), ((0, 0),))}
    largest, because, whole = 3.0 * scale**2, None, None
    for step in steps:
        sources = [reaches[name] for name in step.inputs if name in reaches]
        if not sources:
            continue
        if step.whole:  # what follows on its result alone sees nothing more
            whole = whole or step.kind
            continue
        height, width, channels = step.size
        largest = max(largest, channels * height * width / (lr_size[0] * lr_size[1]))
        reached = _after(step, sources, lr_size)
        if reached is None:
            because = because or step.kind
            continue
        reaches[step.output] = reached
    radius = None
    if sr in reaches and because is None:
        radius = max(max(pair) for axis in reaches[sr] for pair in axis)
    return scale, radius, int(largest * 4 * LIVE_TENSORS), because, whole


def _scale(lr_size: tuple[int, int], sr_size: tuple[int, int, int], where: object) -> int:
    scale = sr_size[0] // lr_size[0]
    if sr_size != (lr_size[0] * scale, lr_size[1] * scale, 3) or not 1 <= scale <= 16:
        raise InputError(
            f"not a super-resolution model: {lr_size[0]}x{lr_size[1]}x3 in, {'x'.join(map(str, sr_size))} out",
            where=where,
            hint="the output must be RGB, NHWC, a whole number of times as high and wide as the input",
        )
    return scale


def _after(step: Step, sources: Sequence, lr_size: tuple[int, int]) -> tuple[Reach, Reach] | None:
    if step.window is None:
        return None
    axes = []
    for axis in (0, 1):
        inputs = [source[axis] for source in sources]
        phases = {len(reach) for reach in inputs}
        if len(phases) != 1 or step.size[axis] != lr_size[axis] * phases.pop() * step.repeat:
            return None  # the step changes the size in a way that its kind does not tell
        reach = after_window(widest(inputs), step.window[2 * axis], step.window[2 * axis + 1])
        axes.append(after_repeat(reach, step.repeat))
    return axes[0], axes[1]
