"""The registry of generators. A further network is one file: describe it, register it, name the file in MODULES.

@register("mobile", Options)
def describe(options: Options, scale: int) -> Graph: ...

graph = describe("mobile", {"width": 32}, scale=4)
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping

from snpe_srgan.errors import ConfigError, did_you_mean
from snpe_srgan.models.graph import Graph

MODULES = {
    "srcnn": "snpe_srgan.models.srcnn",
    "espcn": "snpe_srgan.models.espcn",
    "srgan": "snpe_srgan.models.srgan",
    "mobile": "snpe_srgan.models.mobile",
    "esrgan": "snpe_srgan.models.esrgan",
    "rcan": "snpe_srgan.models.rcan",
    "pff": "snpe_srgan.models.pff",
}
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
        raise ConfigError(f"unknown network '{name}'", where="model.name", hint=did_you_mean(name, MODULES))
    importlib.import_module(MODULES[name])
    kind, function = _NETWORKS[name]
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key, value in (options or {}).items():
        if key not in fields:
            raise ConfigError(
                f"network '{name}' has no option '{key}'", where="model.options", hint=did_you_mean(key, fields)
            )
        default = fields[key].default
        if isinstance(default, bool) != isinstance(value, bool) or not isinstance(value, type(default)):
            raise ConfigError(
                f"option '{key}' of network '{name}' must be like {default!r}, not {value!r}", where="model.options"
            )
    return function(kind(**(options or {})), scale)
