"""The registry of generators. A further network is one file: describe it, register it, name the file in MODULES.

@register("mobile", Options)
def describe(options: Options, scale: int) -> Graph: ...

graph = describe("mobile", {"width": 32}, scale=4)
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Callable, Mapping

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
LARGEST = 4096  # of an option that is a number: channels, blocks
_NETWORKS: dict[str, tuple[type, Callable[..., Graph]]] = {}


def register(name: str, options: type):
    """Decorator: `function(options_instance, scale) -> Graph` becomes the network `name`."""

    def decorate(function):
        _NETWORKS[name] = (options, function)
        return function

    return decorate


def describe(name: str, options: Mapping[str, object] | None = None, *, scale: int = 4) -> Graph:
    """The layers of a registered network; `ConfigError` for an unknown name, option, or a value of the wrong type."""
    if name not in MODULES:
        raise ConfigError(
            f"unknown network {shown(name)}", where="model.name", hint=did_you_mean(name[:LONGEST_VALUE], MODULES)
        )
    importlib.import_module(MODULES[name])
    kind, function = _NETWORKS[name]
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key, value in (options or {}).items():
        if key not in fields:
            raise ConfigError(
                f"network '{name}' has no option {shown(key)}",
                where="model.options",
                hint=did_you_mean(key[:LONGEST_VALUE], fields),
            )
        _check_option(f"option '{key}' of network '{name}'", value, fields[key].default)
    graph = function(kind(**(options or {})), scale)
    parameters = sum(math.prod(shape) for shape in graph.weight_shapes().values())
    if parameters > MOST_PARAMETERS:
        millions = f"{parameters / 1e6:,.0f} million parameters, at most {MOST_PARAMETERS / 1e6:,.0f} are allowed"
        raise ConfigError(f"network '{name}' would have {millions}", where="model.options")
    return graph


def _check_option(what: str, value: object, default: object) -> None:
    if isinstance(default, bool) != isinstance(value, bool) or not isinstance(value, type(default)):
        raise ConfigError(f"{what} must be like {default!r}, not {shown(value)}", where="model.options")
    if isinstance(value, int) and not 0 <= value <= LARGEST:
        raise ConfigError(f"{what} must be 0 to {LARGEST}, not {shown(value)}", where="model.options")
