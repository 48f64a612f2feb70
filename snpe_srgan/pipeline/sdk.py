"""The stages convert and quantize of a run whose config says `convert: {toolchain: snpe}`.

The .dlc files are the SDK's, the quantization is ours: the encodings that the stage `quantize` found go through the
SDK's converter and quantizer, so that the report, the .onnx and the .dlc tell of one network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from snpe_srgan.artifacts.card import read_card, source_of, write_card
from snpe_srgan.artifacts.files import write_bytes
from snpe_srgan.artifacts.run_files import Files
from snpe_srgan.artifacts.staging import Scratch
from snpe_srgan.config import ConvertConfig
from snpe_srgan.data.sources import PicturePair
from snpe_srgan.toolchains.snpe.release import QAIRT
from snpe_srgan.toolchains.snpe.sdk import find_sdk
from snpe_srgan.zoo.resolve import resolve


def convert_by_sdk(files: Files, config: ConvertConfig, *, say: Callable[[str], None]) -> None:
    """`generator.dlc` from the .pb, or with QAIRT from the .onnx.

    Args:
        files: of the run.
        config: whose size the .dlc gets.
        say: called with a line on what is being done.

    Raises:
        MissingToolError: no SDK is set up.
        SnpeSrganError: the SDK refuses the network, or makes another of it.
    """
    from snpe_srgan.stages.convert_sdk import convert_with_sdk

    sdk = find_sdk()
    source = files.onnx if sdk.release.flavour == QAIRT else files.pb
    convert_with_sdk(resolve(source), files.folder, sdk=sdk, input_size=config.size, overwrite=True, say=say)


def quantize_by_sdk(
    files: Files, config: ConvertConfig, pictures: Sequence[PicturePair], *, count: int, say: Callable[[str], None]
) -> None:
    """`generator_<recipe>.dlc` with the encodings that lie beside `generator_<recipe>.onnx`.

    Args:
        files: of the run.
        config: whose size the .dlc gets.
        pictures: to calibrate on; the SDK's quantizer wants some, though the encodings are ours.
        count: crops of them.
        say: called with a line on what is being done.

    Raises:
        MissingToolError: no SDK is set up.
        SnpeSrganError: the SDK refuses the network, or makes another of it.
    """
    from snpe_srgan.stages.quantize_sdk import SdkQuantizeOptions, quantize_with_sdk

    model, encodings = (files.quantized_onnx.with_suffix(f".encodings{end}") for end in (".onnx", ".json"))
    with Scratch() as scratch:
        options = SdkQuantizeOptions(
            overrides=encodings, calibration=pictures, count=count, input_size=config.size
        )
        made = quantize_with_sdk(resolve(model), scratch, options, sdk=find_sdk(), say=say)
        card = read_card(made.dlc)
        assert card is not None  # written a moment ago
        write_bytes(files.quantized_dlc, made.dlc.read_bytes(), overwrite=True)
    write_card(files.quantized_dlc, replace(card, source=source_of(model)))
