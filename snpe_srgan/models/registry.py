"""The registry of generators. A further network is one file: describe it, register it, name the file in MODULES.

@register("mobile", Options, scales=range(1, 9))
def describe(options: Options, scale: int) -> Graph: ...

graph = describe("mobile", {"width": 32}, scale=4)
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Callable, Collection, Mapping

from snpe_srgan.errors import LONGEST_VALUE, ConfigError, did_you_mean, shown
from snpe_srgan.models.graph import Graph

MODULES = {
    "srcnn": "snpe_srgan.models.srcnn",
    "espcn": "snpe_srgan.models.espcn",
    "srgan": "snpe_srgan.models.srgan",
    "mobile": "snpe_srgan.models.mobile",
    "esrgan": "snpe_srgan.models.esrgan",
    "rcan": "snpe_srgan.models.rcan",
    "pff": "snpe_srgan.models.pff",
    "srvgg": "snpe_srgan.models.srvgg",
    "span": "snpe_srgan.models.span",
    "sesr": "snpe_srgan.models.sesr",
    "disp": "snpe_srgan.models.disp",
    "xlsr": "snpe_srgan.models.xlsr",
}
MOST_PARAMETERS = 500_000_000  # 2 GB; ESRGAN has 17 million
NONE: Mapping[str, Collection[object]] = {}
LARGEST = 4096  # of an option that is a number: channels, blocks


@dataclasses.dataclass(frozen=True)
class _Network:
    options: type
    scales: Collection[int]
    choices: Mapping[str, Collection[object]]
    function: Callable[..., Graph]


_NETWORKS: dict[str, _Network] = {}


def register(
    name: str, options: type, *, scales: Collection[int] = range(1, 9), choices: Mapping[str, Collection[object]] = NONE
):
    """Decorator: `function(options_instance, scale) -> Graph` becomes the network `name`.

    Args:
        options: a dataclass of the network's options with their defaults. An option's type is its default's; a number
            is 1 to `LARGEST`, or 0 as well where 0 is its default.
        scales: by how much the network can enlarge.
        choices: for an option that is a word, or one of a few numbers, what it may be.
    """

    def decorate(function: Callable[..., Graph]) -> Callable[..., Graph]:
        _NETWORKS[name] = _Network(options, scales, choices, function)
        return function

    return decorate


def describe(name: str, options: Mapping[str, object] | None = None, *, scale: int = 4) -> Graph:
    """The layers of a registered network; `ConfigError` for an unknown name, option, or a value of the wrong type.

    Args:
        name: a key of `MODULES`.
        options: those that differ from the network's defaults; None for none.
        scale: how many times as high and wide the picture becomes.

    Raises:
        ConfigError: also for a scale that the network does not have, a value out of range, or a network of more than
            `MOST_PARAMETERS`.
    """
    if name not in MODULES:
        raise ConfigError(
            f"unknown network {shown(name)}", where="model.name", hint=did_you_mean(name[:LONGEST_VALUE], MODULES)
        )
    importlib.import_module(MODULES[name])
    network = _NETWORKS[name]
    if scale not in network.scales:
        raise ConfigError(
            f"{name} has no scale {scale}", where="model.scale", hint=", ".join(str(s) for s in network.scales)
        )
    fields = {f.name: f for f in dataclasses.fields(network.options)}
    for key, value in (options or {}).items():
        if key not in fields:
            raise ConfigError(
                f"network '{name}' has no option {shown(key)}",
                where="model.options",
                hint=did_you_mean(key[:LONGEST_VALUE], fields),
            )
        _check_option(f"option '{key}' of network '{name}'", value, fields[key].default, network.choices.get(key))
    graph = network.function(network.options(**(options or {})), scale)
    parameters = sum(math.prod(shape) for shape in graph.weight_shapes().values())
    if parameters > MOST_PARAMETERS:
        millions = f"{parameters / 1e6:,.0f} million parameters, at most {MOST_PARAMETERS / 1e6:,.0f} are allowed"
        raise ConfigError(f"network '{name}' would have {millions}", where="model.options")
    return graph


def _check_option(what: str, value: object, default: object, choices: Collection[object] | None) -> None:
    if isinstance(default, bool) != isinstance(value, bool) or not isinstance(value, type(default)):
        raise ConfigError(f"{what} must be like {default!r}, not {shown(value)}", where="model.options")
    if choices is not None:
        if value not in choices:
            hint = did_you_mean(str(value)[:LONGEST_VALUE], [str(choice) for choice in choices])
            raise ConfigError(f"{what} cannot be {shown(value)}", where="model.options", hint=hint)
    elif isinstance(value, int) and isinstance(default, int) and not isinstance(value, bool):
        least = min(default, 1)
        if not least <= value <= LARGEST:
            raise ConfigError(f"{what} must be {least} to {LARGEST}, not {shown(value)}", where="model.options")
