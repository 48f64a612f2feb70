"""An LPIPS-style perceptual distance: how different two pictures look to a network that was trained to see.

    distance = load_perceptual("squeezenet_v1.1_imagenet_notop.h5", "squeeze_v0.1.npz")
    distance(sr, hr)                    # 0 for equal pictures, about 0.1 for a good SRGAN x4, 0.3 for bicubic

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric": the features of seven
layers, each pixel's vector brought to length 1; the squared differences, weighted by channel, averaged over the
picture and summed over the layers. PSNR alone flatters blur, and a GAN that quantization has damaged.

LPIPS-*style*: the heads (channel weights) are LPIPS v0.1's own, made for torchvision's SqueezeNet 1.1, but the features
come from the Caffe weights of SqueezeNet 1.1 in Keras layout. Numbers compare with each other, not with published
LPIPS. Both files are named by the caller; none ships with the package.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.losses.feature_networks import FeatureDescription, squeezenet
from snpe_srgan.losses.feature_weights import read_h5
from snpe_srgan.metrics.psnr import check_alike

# torchvision's `features` 1, 4, 7, 9, 10, 11, 12: where LPIPS taps SqueezeNet 1.1.
TAPS = ("conv1", *(f"fire{i}/concat" for i in (3, 5, 6, 7, 8, 9)))
SMALLEST = 32  # pixels of a side: less leaves nothing of the deepest features
EPSILON = 1e-10


def unit_length(features: np.ndarray) -> np.ndarray:
    """(..., channels, h, w), each pixel's vector divided by its length (+ EPSILON)."""
    return features / (np.sqrt(np.square(features).sum(axis=-3, keepdims=True)) + EPSILON)


def layer_distance(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> float:
    """Mean over the pixels of the weighted squared difference of two feature maps (channels, h, w), lengths made 1.

    Zhang et al. 2018, equation 1; `weights` (channels,) are w_l squared, none below 0.
    """
    return float(np.tensordot(weights, np.square(unit_length(a) - unit_length(b)), axes=1).mean(dtype=np.float64))


class PerceptualDistance:
    """Call it with two uint8 RGB pictures (h, w, 3) of one size."""

    def __init__(self, backbone: Mapping[str, Sequence[np.ndarray]], heads: Sequence[np.ndarray]):
        """`backbone`: layer -> kernel (HWIO) and bias; `heads`: seven arrays (channels,), one for each of TAPS."""
        import onnxruntime as ort

        description = squeezenet()
        options = ort.SessionOptions()
        options.enable_cpu_mem_arena = False  # pictures differ in size
        model = feature_model(description, backbone, TAPS).SerializeToString()
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._mean = np.float32(description.mean)
        self._heads = [np.asarray(head, np.float32) for head in heads]

    def features(self, picture: np.ndarray) -> list[np.ndarray]:
        """What TAPS give for one picture: (channels, h, w) each, after their ReLU."""
        bgr = picture[..., ::-1].astype(np.float32) - self._mean  # as Caffe fed it
        outputs = self._session.run(None, {"picture": np.ascontiguousarray(bgr.transpose(2, 0, 1)[None])})
        return [output[0] for output in outputs]

    def __call__(self, a: np.ndarray, b: np.ndarray) -> float:
        check_alike(a, b)
        if a.dtype != np.uint8 or b.dtype != np.uint8 or a.ndim != 3 or min(a.shape[:2]) < SMALLEST:
            raise InputError(
                f"the perceptual distance takes uint8 RGB pictures of {SMALLEST}x{SMALLEST} or more, "
                f"not {a.dtype} {a.shape}"
            )
        both = zip(self.features(a), self.features(b), self._heads, strict=True)
        return sum(layer_distance(x, y, head) for x, y, head in both)


def load_perceptual(backbone: str | os.PathLike, heads: str | os.PathLike) -> PerceptualDistance:
    """The distance from its two weight files: SqueezeNet 1.1 (Keras .h5) and the heads (.npz, `lin0`..`lin6`)."""
    from snpe_srgan.artifacts.files import os_error

    description = squeezenet()
    channels = {layer.name: layer.channels for layer in description.layers}
    channels |= {x.name: sum(channels[i] for i in x.inputs) for x in description.layers if x.kind == "concat"}
    try:
        with np.load(heads, allow_pickle=False) as file:
            arrays = [np.asarray(file[f"lin{i}"], np.float32) for i in range(len(TAPS))]
        if [a.shape for a in arrays] != [(channels[tap],) for tap in TAPS]:
            raise ValueError("the shapes are those of another network")
    except FileNotFoundError as error:
        raise os_error(error, heads, "read the heads") from error
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise InputError(f"not the heads of LPIPS on SqueezeNet ({error})", where=heads) from error
    return PerceptualDistance(read_h5(description, backbone), arrays)


def feature_model(description: FeatureDescription, weights: Mapping[str, Sequence[np.ndarray]], taps: Sequence[str]):
    """A feature network as ONNX: `picture` (1, 3, h, w) of any size -> the layers named in `taps`.

    Pooling rounds sizes up, as in Caffe and torchvision (the Keras port rounds down).
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    for layer in description.layers:
        inputs, out = ["picture" if x == "input" else x for x in layer.inputs], layer.name
        if layer.kind == "concat":
            nodes.append(helper.make_node("Concat", inputs, [out], axis=1))
            continue
        window = {"kernel_shape": [layer.size] * 2, "strides": [layer.stride] * 2}
        if layer.kind == "max_pool":
            nodes.append(helper.make_node("MaxPool", inputs, [out], ceil_mode=1, **window))
            continue
        kernel, bias = weights[layer.name]
        pad = layer.size // 2 if layer.padding == "SAME" else 0
        inputs += [constant(f"{out}/kernel", kernel.transpose(3, 2, 0, 1)), constant(f"{out}/bias", bias)]
        nodes.append(helper.make_node("Conv", inputs, [f"{out}/sum"], pads=[pad] * 4, **window))
        nodes.append(helper.make_node("Relu", [f"{out}/sum"], [out]))
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, "height", "width"])
    outputs = [helper.make_tensor_value_info(tap, TensorProto.FLOAT, None) for tap in taps]
    graph = helper.make_graph(nodes, description.name, [picture], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
