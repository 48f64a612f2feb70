"""Networks as PyTorch's users have them, for `scripts/field_networks`: a module of that name, not a script of its own.

`NETWORKS` maps a name to a maker: (folder) -> (file, what PyTorch itself draws of a picture NHWC in [0, 1]). Weights
are the shipped network's, or bicubic enlargement with small random features beside it, so that pictures can be judged.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from field_kinds import SIDE, Made, luma_run
from torch import nn
from torch_twin import generator

from snpe_srgan.models.initialize import bicubic
from snpe_srgan.models.npz import load_npz
from snpe_srgan.zoo.named import WEIGHTS

NAMES = {
    "kernel": "weight", "gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var",
    "alpha": "weight",
}  # fmt: skip


def shipped(name: str = "mobile") -> nn.Module:
    """A shipped network as PyTorch's: [0, 1] to [-1, 1]."""
    graph, weights = load_npz(WEIGHTS / f"{name}.npz")
    blocks = {}
    layers = {layer.name: layer for layer in graph.layers}
    for shuffle in (layer for layer in graph.layers if layer.kind == "depth_to_space"):
        waiting = list(shuffle.inputs)
        while waiting:
            layer = layers[waiting.pop()]
            if layer.kind == "conv":
                blocks[layer.name] = shuffle.attributes["block"]
            else:
                waiting += layer.inputs
    module, state = generator(graph).eval(), {}
    for key, array in weights.items():
        layer, part = key.split("/")
        if layer in blocks:  # (phases, colours) as (colours, phases)
            split = array.reshape(*array.shape[:-1], blocks[layer] ** 2, -1)
            array = split.swapaxes(-1, -2).reshape(array.shape)
        array = array.transpose(3, 2, 0, 1) if part == "kernel" else array
        state[f"parts.{layer}.{NAMES.get(part, part)}"] = torch.from_numpy(np.ascontiguousarray(array))
    module.load_state_dict(state)
    return module


def anchor(scale: int) -> nn.Conv2d:
    """Bicubic enlargement as a convolution before a pixel shuffle."""
    kernel, _ = bicubic((5, 5, 3, 3 * scale**2))
    kernel = kernel.reshape(5, 5, 3, scale**2, 3).swapaxes(-1, -2).reshape(5, 5, 3, -1).transpose(3, 2, 0, 1)
    conv = nn.Conv2d(3, 3 * scale**2, 5, padding=2, bias=False)
    conv.weight.data = torch.from_numpy(np.ascontiguousarray(kernel))
    return conv


class Ends(nn.Module):
    """The shipped network between ends of other numbers."""

    def __init__(self, takes: tuple[float, float] = (0, 1), gives: tuple[float, float] = (0, 1)):
        super().__init__()
        self.network, self.takes, self.gives = shipped(), takes, gives

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (low, high), (black, white) = self.takes, self.gives
        x = x if (low, high) == (0, 1) else (x - low) / (high - low)
        return (self.network(x) + 1) * ((white - black) / 2) + black


class Bytes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = Ends(gives=(0, 255))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x.float() / 255).round().clamp(0, 255).to(torch.uint8)


class Luma(nn.Module):
    """One channel in and out: three equal ones to the shipped network, and their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Ends()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(torch.cat([x, x, x], 1)).mean(1, keepdim=True)


class Unshuffled(nn.Module):
    """x2 that begins with a pixel unshuffle: the shipped x4 on the means of four pixels, and bicubic's detail."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.network = nn.Conv2d(12, 3, 1, bias=False), Ends()
        self.mix.weight.data = torch.eye(3).repeat_interleave(4, 1)[:, :, None, None] / 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(self.mix(F.pixel_unshuffle(x, 2)))


class Featured(nn.Module):
    """Bicubic enlargement, and a little of what a body of some architecture makes."""

    def __init__(self, body: nn.Module, width: int, *, scale: int = 4, tail: nn.Module | None = None):
        super().__init__()
        torch.manual_seed(len(str(body)))
        self.head, self.body = nn.Conv2d(3, width, 3, padding=1), body
        self.tail = tail or nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        self.anchor, self.scale = anchor(scale), scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.pixel_shuffle(self.anchor(x), self.scale)
        return torch.clamp(y + 0.1 * self.tail(self.body(self.head(x))), 0, 1)


class Gate(nn.Module):
    """SPAN's block."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.convs[2](F.silu(self.convs[1](F.silu(self.convs[0](x)))))
        return (y + x) * (torch.sigmoid(y) - 0.5)


class Attention(nn.Module):
    """RCAN's channel attention."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(width, width, 3, padding=1), nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sequential(nn.Conv2d(width, 4, 1), nn.ReLU(), nn.Conv2d(4, width, 1), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.conv(x))
        return x + y * self.gate(self.pool(y))


class Spatial(nn.Module):
    """RFDN's enhanced spatial attention: a strided convolution, a max pool and a bilinear way back."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.inner, self.down = nn.Conv2d(width, 4, 1), nn.Conv2d(4, 4, 3, stride=2)
        self.coarse, self.outer = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        z = self.coarse(F.max_pool2d(self.down(y), 7, 3))
        z = F.interpolate(z, size=x.shape[2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.outer(z + y))


class Normed(nn.Module):
    """A SAFMN-like mixer: layer norm over channels, a depthwise convolution, GELU."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.norm, self.deep = nn.LayerNorm(width), nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.out(F.gelu(self.deep(y)))


class Skipped(nn.Module):
    """A residual that is interpolated by PyTorch itself."""

    def __init__(self, mode: str):
        super().__init__()
        torch.manual_seed(1)
        self.mode = mode
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(16, 48, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        base = F.interpolate(x, scale_factor=4, mode=self.mode, align_corners=False)
        return base + 0.05 * F.pixel_shuffle(self.body(x), 4)


class Fsrcnn(nn.Module):
    """A transposed convolution at the end, bilinear enlargement by 2 in it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.head, self.act = nn.Conv2d(3, 16, 5, padding=2), nn.PReLU(16)
        self.up = nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1)
        for part in (self.head, self.up):
            part.weight.data *= 0.1
            part.bias.data.zero_()
        taps = torch.tensor([1.0, 3, 3, 1])
        for c in range(3):
            self.head.weight.data[c, c, 2, 2] += 1
            self.up.weight.data[c, c] += torch.outer(taps, taps) / 16

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(self.act(self.head(x)))


class Doubled(nn.Module):
    """ESRGAN's way up: nearest neighbour and a convolution, twice."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            x = F.leaky_relu(conv(F.interpolate(x, scale_factor=2, mode="nearest")), 0.2)
        return self.last(x)


# ---- written to files ----


def run(module: nn.Module, *, white: tuple[float, float] = (1, 1), black: tuple[float, float] = (0, 0),
        dtype: torch.dtype = torch.float32) -> Callable[[np.ndarray], np.ndarray]:  # fmt: skip
    """PyTorch's own picture, NHWC in [0, 1]."""

    def call(lr: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(lr.transpose(0, 3, 1, 2)).float() * (white[0] - black[0]) + black[0]
        x = x.round().to(dtype) if dtype == torch.uint8 else x.to(dtype)
        with torch.inference_mode():
            y = module(x).float()
        y = (y - black[1]) / (white[1] - black[1])
        return y.numpy().transpose(0, 2, 3, 1)

    return call


def onnx_file(path: Path, module: nn.Module, *, free: bool = True, opset: int = 17, dtype: torch.dtype = torch.float32,
              channels: int = 3, dynamo: bool = False) -> Path:  # fmt: skip
    module = module.eval()
    example = torch.zeros(1, channels, SIDE, SIDE).to(dtype)
    options: dict[str, Any] = {"input_names": ["input"], "output_names": ["output"]}
    if dynamo:
        options |= {"dynamo": True, "verbose": False, "external_data": False}
        if free:
            sides = {2: torch.export.Dim("h", min=8, max=512), 3: torch.export.Dim("w", min=8, max=512)}
            options["dynamic_shapes"] = (sides,)
    else:
        options |= {"opset_version": opset, "dynamo": False}
        if free:
            options["dynamic_axes"] = {"input": {2: "h", 3: "w"}, "output": {2: "H", 3: "W"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (example,), str(path), **options)
    return path


def _exported(module: Callable[[], nn.Module], **options: Any) -> Callable[[Path], Made]:
    """`ends`: white and black of both ends as `run` takes them; the others as `onnx_file` does."""

    def make(folder: Path) -> Made:
        made, ends = module().eval(), options.get("ends", {})
        half = options.get("dtype") == torch.float16
        path = onnx_file(
            folder / "net.onnx", made.half() if half else made, **{k: v for k, v in options.items() if k != "ends"}
        )
        return path, run(made, dtype=options.get("dtype", torch.float32), **ends)

    return make


def _luma(folder: Path) -> Made:
    module = Luma().eval()
    return onnx_file(folder / "net.onnx", module, channels=1), luma_run(run(module))


def _optimized(name: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        import onnx

        path, draw = _exported(lambda: Featured(Attention(), 16))(folder)
        if name == "onnxslim":
            import onnxslim

            onnx.save(onnxslim.slim(onnx.load(path)), path)
        else:
            import onnxsim

            model, same = onnxsim.simplify(onnx.load(path))
            if not same:
                raise ValueError("onnxsim changed the network")
            onnx.save(model, path)
        return path, draw

    return make


class Srvgg(nn.Module):
    """SRVGGNetCompact under its own names; the last convolution starts as nothing."""

    def __init__(self, width: int = 16, depth: int = 5):
        super().__init__()
        torch.manual_seed(3)
        parts: list[nn.Module] = []
        for i in range(depth):
            parts.append(nn.Conv2d(width if i else 3, 48 if i == depth - 1 else width, 3, padding=1))
            parts += [nn.PReLU(width)] if i < depth - 1 else []
        self.body = nn.ModuleList(parts)
        parts[-1].weight.data *= 0.05
        parts[-1].bias.data *= 0.05

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for part in self.body:
            y = part(y)
        return F.pixel_shuffle(y, 4) + F.interpolate(x, scale_factor=4, mode="nearest")


class Quick(nn.Module):
    """QuickSRNet-small under AIMET's names, its channels handing the picture on as its authors start it."""

    def __init__(self, width: int = 32, depth: int = 3):
        super().__init__()
        torch.manual_seed(4)
        parts: list[nn.Module] = []
        for i in range(depth):
            parts += [nn.Conv2d(width if i else 3, width, 3, padding=1), nn.Hardtanh(0.0, 1.0)]
        self.cnn, self.conv_last = nn.Sequential(*parts), nn.Conv2d(width, 48, 3, padding=1)
        for conv in [*self.cnn[::2], self.conv_last]:
            conv.weight.data *= 0.1
            conv.bias.data *= 0.1
        for conv in self.cnn[::2]:
            for c in range(3):
                conv.weight.data[c, c, 1, 1] += 1
        for c in range(48):
            self.conv_last.weight.data[c, c // 16, 1, 1] += 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(torch.clamp(self.conv_last(self.cnn(x)), 0, 1), 4)


def _checkpoint(module: Callable[[], nn.Module], name: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        made, path = module().eval(), folder / name
        if path.suffix == ".safetensors":
            from safetensors.torch import save_file

            save_file(made.state_dict(), path)
        else:
            torch.save({"params_ema": made.state_dict()}, path)
        return path, run(made)

    return make


BYTE, SIGNED = {"white": (255, 255)}, {"black": (-1, -1)}
NETWORKS: dict[str, Callable[[Path], Made]] = {
    "torch.onnx | NCHW, free size": _exported(Ends),
    "torch.onnx | NCHW, one size": _exported(Ends, free=False),
    "torch.onnx | opset 11": _exported(Ends, opset=11),
    "torch.onnx | 0..255": _exported(lambda: Ends((0, 255), (0, 255)), ends=BYTE),
    "torch.onnx | -1..1": _exported(lambda: Ends((-1, 1), (-1, 1)), ends=SIGNED),
    "torch.onnx | float16": _exported(Ends, dtype=torch.float16),
    "torch.onnx | uint8 at both ends": _exported(Bytes, dtype=torch.uint8, ends=BYTE),
    "torch.onnx | brightness alone": _luma,
    "torch.onnx | pixel unshuffle, x2": _exported(Unshuffled),
    "torch.onnx | SPAN's gates": _exported(lambda: Featured(Gate(), 16)),
    "torch.onnx | channel attention": _exported(lambda: Featured(Attention(), 16)),
    "torch.onnx | spatial attention": _exported(lambda: Featured(Spatial(), 16), free=False),
    "torch.onnx | layer norm and GELU": _exported(lambda: Featured(Normed(), 16)),
    "torch.onnx | bilinear skip": _exported(lambda: Skipped("bilinear")),
    "torch.onnx | bicubic skip": _exported(lambda: Skipped("bicubic")),
    "torch.onnx | transposed convolution, x2": _exported(Fsrcnn),
    "torch.onnx | nearest neighbour twice": _exported(lambda: Featured(nn.Identity(), 16, tail=Doubled())),
    "torch.export (dynamo) | NCHW, free size": _exported(Ends, dynamo=True),
    "torch.export (dynamo) | SPAN's gates, one size": _exported(lambda: Featured(Gate(), 16), dynamo=True, free=False),
    "onnxslim | channel attention": _optimized("onnxslim"),
    "onnxsim | channel attention": _optimized("onnxsim"),
    "torch.save | SRVGGNetCompact .pth": _checkpoint(Srvgg, "net.pth"),
    "safetensors | QuickSRNet": _checkpoint(Quick, "net.safetensors"),
}
