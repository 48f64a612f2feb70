"""The same training step in PyTorch, for the scripts that compare speed; not a script of its own.

step = TorchStep(graph, crop=96, adversarial=True, precision="bfloat16", device="cpu")
step(lr, hr)                  # uint8 arrays (n, h, w, 3), as our step takes them
step.wait()

Same layers, losses, optimizer (fused: one kernel for all variables) and averaged weights, no gradient clipping; NCHW in
channels-last memory, which is PyTorch's fastest layout. `compiled` uses torch.compile.
"""

from __future__ import annotations

import contextlib
import importlib.util

import numpy as np

INSTALL = "pip install torch"


def available() -> bool:
    return importlib.util.find_spec("torch") is not None


def generator(graph):
    """A `torch.nn.Module` of our graph; LR in [0, 1] -> SR in [-1, 1], both (n, 3, h, w)."""
    import torch
    from torch import nn

    kinds = {
        "conv": lambda layer, inputs: nn.Conv2d(
            inputs, layer.channels, tuple(layer.attributes["kernel"]), padding="same", bias=layer.attributes["bias"]
        ),
        "batch_norm": lambda layer, inputs: nn.BatchNorm2d(layer.channels, eps=layer.attributes["epsilon"]),
        "prelu": lambda layer, inputs: nn.PReLU(layer.channels),
        "relu": lambda layer, inputs: nn.ReLU(),
        "tanh": lambda layer, inputs: nn.Tanh(),
        "clip": lambda layer, inputs: nn.Hardtanh(layer.attributes["low"], layer.attributes["high"]),
        "depth_to_space": lambda layer, inputs: nn.PixelShuffle(layer.attributes["block"]),
    }

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            channels, self.parts = {}, nn.ModuleDict()
            for layer in graph.layers:
                channels[layer.name] = layer.channels
                if layer.kind in kinds:
                    self.parts[layer.name] = kinds[layer.kind](layer, channels[layer.inputs[0]])
                    if layer.kind == "conv" and not layer.attributes["trainable"]:
                        self.parts[layer.name].requires_grad_(False)
                elif layer.kind not in ("input", "add", "concat"):
                    raise ValueError(f"no PyTorch twin of a layer of kind {layer.kind}")

        def forward(self, lr):
            values = {}
            for layer in graph.layers:
                read = [values[name] for name in layer.inputs]
                if layer.kind == "input":
                    values[layer.name] = lr
                elif layer.kind == "add":
                    values[layer.name] = read[0] + read[1]
                elif layer.kind == "concat":
                    values[layer.name] = torch.cat(read, 1)
                else:
                    values[layer.name] = self.parts[layer.name](read[0])
            return values[graph.layers[-1].name]

    return Network()


def discriminator(crop: int, *, width: int = 64, dense: int = 1024):
    """models/discriminator.py's: eight convolutions, every second halving the size, and two dense layers."""
    from torch import nn

    parts, channels = [], 3
    for i in range(8):
        wide = width * 2 ** (i // 2)
        parts.append(nn.Conv2d(channels, wide, 3, 1 + i % 2, 1, bias=i == 0))
        parts += [nn.BatchNorm2d(wide)] if i else []
        parts.append(nn.LeakyReLU(0.2))
        channels = wide
    flat = channels * (crop // 16) ** 2
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(flat, dense), nn.LeakyReLU(0.2), nn.Linear(dense, 1))


class TorchStep:
    """One step: discriminator, generator, averaged weights; losses are added up and not read back."""

    def __init__(self, graph, *, crop: int, adversarial: bool, precision: str, device: str, compiled: bool = False):
        import torch

        torch.manual_seed(0)
        # As ours: float32 is float32. It is PyTorch's default for products, and not for convolutions.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        self.torch, self.device = torch, torch.device(device)

        def placed(network):
            return network.to(self.device, memory_format=torch.channels_last).train()

        def adam(network):
            return torch.optim.Adam(
                [p for p in network.parameters() if p.requires_grad], lr=1e-4, betas=(0.9, 0.999), fused=True
            )

        self.generator = placed(generator(graph))
        self.average = [p.detach().clone() for p in self.generator.state_dict().values() if p.dtype == torch.float32]
        self.optimizer = adam(self.generator)
        self.discriminator = placed(discriminator(crop)) if adversarial else None
        self.d_optimizer = adam(self.discriminator) if adversarial else None
        self.low = precision == "bfloat16"
        self.sums = torch.zeros(2, device=self.device)
        wrap = torch.compile if compiled else (lambda network: network)
        self.enlarge, self.judge = wrap(self.generator), adversarial and wrap(self.discriminator)

    def _precision(self):
        if not self.low:
            return contextlib.nullcontext()
        return self.torch.autocast(self.device.type, dtype=self.torch.bfloat16)

    def _pictures(self, pixels: np.ndarray, scale: float, shift: float):
        """uint8 NHWC -> float32 NCHW in channels-last memory: the permuted view is that already."""
        return self.torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / scale + shift

    def __call__(self, lr: np.ndarray, hr: np.ndarray) -> None:
        torch, soft = self.torch, self.torch.nn.functional.softplus
        lr, hr = self._pictures(lr, 255.0, 0.0), self._pictures(hr, 127.5, -1.0)
        with self._precision():
            sr = self.enlarge(lr)
        sr = sr.float()
        d_loss = torch.zeros((), device=self.device)
        if self.discriminator is not None:
            with self._precision():
                real, fake = self.judge(hr), self.judge(sr.detach())
            d_loss = soft(-real.float()).mean() + soft(fake.float()).mean()
            self.d_optimizer.zero_grad(set_to_none=True)
            d_loss.backward()
            self.d_optimizer.step()
            self.discriminator.requires_grad_(False)
        loss = (sr - hr).square().mean()
        if self.discriminator is not None:
            with self._precision():
                answer = self.judge(sr)
            loss = loss + 1e-3 * soft(-answer.float()).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if self.discriminator is not None:
            self.discriminator.requires_grad_(True)
        with torch.no_grad():
            live = [p for p in self.generator.state_dict().values() if p.dtype == torch.float32]
            torch._foreach_lerp_(self.average, live, 0.1)
            self.sums += torch.stack([loss.detach(), d_loss.detach()])

    def wait(self) -> np.ndarray:
        """The sums so far, read back: everything is computed then."""
        return self.sums.cpu().numpy()
