"""What a bundle is made from: the quantized graph of a fixed size, its .dlc, and the float network that judges it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.deploy.from_qdq import RULES
from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.onnx_graphs.reach import Facts
from snpe_srgan.quantization.recipe import AUTO, parse_recipe
from snpe_srgan.zoo.resolve import ModelFile

if TYPE_CHECKING:
    import onnx

    from snpe_srgan.calibration.crops import Pictures
    from snpe_srgan.toolchains.socs import Soc


@dataclass(frozen=True, eq=False)
class Quantized:
    """`model` is of free size where the network is; `fixed` of the bundle's; `float_model` None where there is none."""

    name: str
    recipe: str
    facts: Facts
    model: onnx.ModelProto
    fixed: onnx.ModelProto
    float_model: onnx.ModelProto | None
    dlc: Path
    network: str


def eight_bits(recipe: str) -> None:
    """Raises UsageError for a recipe that a .tflite cannot hold: 16-bit activations, or 'auto'."""
    if recipe.strip().lower() == AUTO:
        raise UsageError("deploy takes one recipe: 'auto' needs pictures to choose by", hint="quantize --recipe auto")
    parsed = parse_recipe(recipe)
    if parsed.activation_bits != 8 or parsed.has("mixed"):
        raise UsageError(
            f"the recipe {parsed.name} has 16-bit activations: LiteRT's CPU kernels and our .tflite take 8 bits",
            where="--recipe", hint="--recipe w8a8; convert --quantize --soc writes a .dlc of 16 bits",
        )  # fmt: skip


def refuse_early(file: ModelFile, recipe: str, input_size: tuple[int, int] | None) -> Facts:
    """The model's facts, before minutes are spent on what no bundle can be made of.

    Args:
        recipe: that it will be quantized by.
        input_size: LR height and width of the bundle; None: the model's own, or the default.

    Raises:
        UsageError: a recipe of other than 8-bit activations, or 'auto'.
        InputError: an operator that a .tflite or the NPU does not take, a network that is quantized already, an input
            size that is fixed to another.
    """
    from snpe_srgan.quantization.session import load_float

    eight_bits(recipe)
    model, facts = load_float(file)[:2]
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            raise InputError(
                "the network is quantized already", where=file.path,
                hint="name the float model: deploy quantizes it, and judges the result by it",
            )  # fmt: skip
        if node.op_type not in RULES and node.op_type != "Constant":
            raise InputError(
                f"no NPU code for the operator '{node.op_type}' ('{node.name or node.output[0]}')", where=file.path,
                hint="operators that can be deployed: " + ", ".join(sorted(RULES)),
            )  # fmt: skip
    if input_size is not None and facts.input_size not in (None, tuple(input_size)):
        raise InputError(
            f"the model's input is fixed to {facts.input_size[0]}x{facts.input_size[1]}", where=file.path,
            hint="--input-size {}x{}".format(*facts.input_size),
        )  # fmt: skip
    return facts


def quantize(
    file: ModelFile, scratch: Path, *, recipe: str, calibration: Sequence[Pictures], count: int | None,
    input_size: tuple[int, int],
    caches: Sequence[Soc], facts: Facts, say: Callable[[str], None],
) -> Quantized:  # fmt: skip
    """Quantizes the model by `stages.quantize`, with a .dlc that holds a cache for each chip of `caches`.

    Args:
        scratch: a folder for what is made; the .dlc stays there.
        recipe: of 8-bit activations.
        calibration, count: pictures and crops, as of `QuantizeOptions`.
        input_size: LR height and width of the bundle.
        facts: of the float model, as of `refuse_early`.
        say: called with a line on what is being done.

    Raises:
        SnpeSrganError: as of `quantize_model`.
    """
    import onnx

    from snpe_srgan.onnx_graphs.model import fix_size
    from snpe_srgan.quantization.session import load_float
    from snpe_srgan.stages.quantize import QuantizeOptions, quantize_model

    options = QuantizeOptions(
        recipe=recipe, calibration=calibration, count=count, input_size=input_size, caches=caches,
        soc=caches[0].id if caches else None,
    )  # fmt: skip
    made = quantize_model(file, scratch, options, say=say)
    assert made.dlc is not None  # only `onnx_only` leaves it out
    model = onnx.load(str(made.onnx))
    network = file.stem if file.card is None or file.origin else file.card.network
    return Quantized(
        name=f"{file.stem}_{made.recipe}", recipe=made.recipe, facts=facts, model=model,
        fixed=fix_size(model, input_size, where=file.path), float_model=load_float(file)[0], dlc=made.dlc,
        network=network if network != "unknown" else file.stem,
    )  # fmt: skip


def judge_picture(calibration: Sequence[Pictures], *, scale: int, size: tuple[int, int]) -> tuple[np.ndarray, str]:
    """The picture that a bundle is judged on: the first crop that calibration would take at that size, continued by its
    mirror image where it is smaller.

    Args:
        calibration: pictures as of `QuantizeOptions`; a drawn one stands in for 'none'.
        scale: by how much the network enlarges.
        size: (height, width) in LR pixels.

    Returns:
        (uint8 (height, width, 3), where it is from).

    Raises:
        InputError: the pictures cannot be read.
    """
    from snpe_srgan.calibration.crops import calibration_crops, is_nothing

    sources = ("synthetic",) if is_nothing(calibration) else calibration
    crops = calibration_crops(sources, scale=scale, count=1, size=max(size))
    pixels = np.rint(crops.arrays[0][0] * 255).astype(np.uint8)[: size[0], : size[1]]
    missing = [max(0, wanted - there) for wanted, there in zip(size, pixels.shape, strict=False)]
    return np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric"), crops.origin
