"""The two plain .tflite files of a bundle: uint8 pixels at both ends, and floats in 0..1.

    files = make_tflite(fixed_qdq, metadata={"scale": 4, "receptive_radius": 7}, where="generator_w8a8.onnx")
    files["uint8"], files["float32"]        # bytes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from snpe_srgan.deploy.from_qdq import from_qdq
from snpe_srgan.tflite.rewrite import prepare, to_pixels
from snpe_srgan.tflite.write import Borders, write

if TYPE_CHECKING:
    import onnx

BORDERS: tuple[Borders, ...] = ("uint8", "float32")


def make_tflite(
    model: onnx.ModelProto, *, metadata: Mapping[str, object], where: object = None
) -> dict[Borders, bytes]:
    """Writes a QDQ model of fixed size as .tflite, once for each kind of border.

    Args:
        model: 8-bit activations and weights, NHWC at both ends.
        metadata: what goes into the file beside the network, as JSON.
        where: the place that an error names.

    Returns:
        Kind of border -> the file's bytes.

    Raises:
        InputError: names the operator, the width of numbers or the layout that a .tflite cannot hold.
    """
    network = from_qdq(model, where=where)
    to_pixels(network)
    prepare(network, where=where)
    return {borders: write(network, borders=borders, metadata=metadata, where=where) for borders in BORDERS}
