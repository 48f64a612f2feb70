"""From a file and `--set` options to a checked `Config`, and back; every error in plain words."""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from snpe_srgan.config.schema import Config
from snpe_srgan.config.yaml_text import MAX_BYTES, Value, YamlError, read_yaml, write_yaml
from snpe_srgan.errors import LONGEST_VALUE, ConfigError, did_you_mean, shown
from snpe_srgan.opener import read_text

MAX_INDEX_DIGITS = 6
_KINDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "finite_number": "a finite number",
    "dataclass_type": "a section of keys",
    "dict_type": "a section of keys",
    "list_type": "a list",
}


def load_config(path: str | os.PathLike | None, overrides: Iterable[str] = ()) -> Config:
    """Reads a YAML file and applies `KEY=VALUE` overrides (dotted keys, YAML values).

    Args:
        path: of the file; None for the defaults.
        overrides: applied in this order.

    Raises:
        InputError: the file cannot be read.
        ConfigError: it is no YAML, or not a config; or an override does not fit.
    """
    data = {} if path is None else _read(path)
    if isinstance(data, dict):
        for override in overrides:
            _apply(data, override)
    return parse_config(data, where="--set" if path is None else os.fspath(path))


def _read(path: str | os.PathLike) -> Value:
    text = read_text(path, limit=MAX_BYTES, doing="read the config")
    try:
        data = read_yaml(text)
    except YamlError as error:
        raise ConfigError(f"the config is not valid YAML: {error}", where=path) from error
    if data is None or data == {}:
        raise ConfigError("the config is empty", where=path, hint="one key at least, e.g. name: my_run")
    return data


def parse_config(data: object, *, where: str = "config") -> Config:
    """Plain data (from YAML or JSON) as a checked `Config`.

    Raises:
        ConfigError: names the first key that is wrong, and what it may be.
    """
    try:
        return _adapter().validate_python(data)
    except ValidationError as error:
        raise _config_error(error, where) from error


def dump_config(config: Config) -> str:
    """The YAML that loads as the same config, every default written out."""
    return write_yaml(dataclasses.asdict(config))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a config file, for editors."""
    schema = _adapter().json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "snpe-srgan config"}


@cache
def _adapter() -> TypeAdapter[Config]:
    return TypeAdapter(Config)


def _apply(data: dict[str, Value], override: str) -> None:
    """Sets one dotted key in the data of a config."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{shown(override)} is not KEY=VALUE", where="--set", hint="--set data.crop=128")
    where = f"--set {key[:LONGEST_VALUE]}"
    try:
        value = read_yaml(text)
    except YamlError as error:
        raise ConfigError(f"{shown(text)} is not a YAML value: {error}", where=where) from error
    place: Any = data
    *parents, last = key.split(".")
    for part in parents:
        place = _step_into(place, part, where)
    if isinstance(place, list):
        place[_index(place, last, where)] = value
    else:
        place[last] = value


def _step_into(place: Any, part: str, where: str) -> Any:
    if isinstance(place, list):
        inner = place[_index(place, part, where)]
    else:
        if place.get(part) is None:
            place[part] = {}
        inner = place[part]
    if not isinstance(inner, (dict, list)):
        raise ConfigError(f"{shown(part)} is no section", where=where)
    return inner


def _index(place: Sequence[object], part: str, where: str) -> int:
    if not (part.isascii() and part.isdigit() and len(part) <= MAX_INDEX_DIGITS and int(part) < len(place)):
        raise ConfigError(f"{shown(part)} is no index of a list of {len(place)}", where=where)
    return int(part)


def _config_error(error: ValidationError, where: str) -> ConfigError:
    """pydantic's first complaint in our words."""
    first = error.errors(include_url=False)[0]
    loc, kind, value = first["loc"], first["type"], first["input"]
    if kind in ("unexpected_keyword_argument", "invalid_key"):
        parents, name = loc[:-1], str(loc[-1])
        place = f" in '{_dotted(parents)}'" if parents else ""
        known = [f.name for f in dataclasses.fields(_type_at(parents))]
        hint = did_you_mean(name[:LONGEST_VALUE], known)
        return ConfigError(f"unknown key {shown(name)}{place}", where=where, hint=hint)
    key = _dotted(loc) or "the config"
    if kind == "literal_error":
        choices = [str(choice) for choice in typing.get_args(_type_at(loc))]
        hint = did_you_mean(str(value)[:LONGEST_VALUE], choices)
        return ConfigError(f"{key} must be one of {', '.join(choices)}, not {shown(value)}", where=where, hint=hint)
    if kind == "value_error":
        return ConfigError(f"{key} {first['ctx']['error']}", where=where)
    if kind in _KINDS:
        short = kind == "list_type" and isinstance(value, str) and len(value) <= LONGEST_VALUE
        example = f"{key}: [{value}]" if short else None
        return ConfigError(f"{key} must be {_KINDS[kind]}, not {shown(value)}", where=where, hint=example)
    return ConfigError(f"{key} {_rule(kind, first)}, not {shown(value)}", where=where)


def _rule(kind: str, problem: ErrorDetails) -> str:
    """What a value of the right type must keep to."""
    bounds = problem.get("ctx", {})
    match kind:
        case "greater_than_equal" if bounds["ge"] == 0:
            return "must not be negative"
        case "greater_than_equal":
            return f"must be at least {bounds['ge']}"
        case "greater_than":
            return f"must be above {bounds['gt']}"
        case "less_than_equal":
            return f"must be at most {bounds['le']}"
        case "less_than":
            return f"must be below {bounds['lt']}"
        case "too_short" | "string_too_short":
            return "must not be empty"
        case "string_too_long":
            return f"must have at most {bounds['max_length']} characters"
        case "string_pattern_mismatch":
            return "must be 'layer' or 'student=teacher'"
    return problem["msg"][:100]


def _dotted(loc: Sequence[int | str]) -> str:
    """pydantic's place as a user writes it: training.stages[0].loss."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:LONGEST_VALUE]}" for part in loc)
    return text.removeprefix(".")


def _type_at(loc: Sequence[int | str]) -> Any:
    """The type of the field at `loc`, without what annotates it."""
    kind: Any = Config
    for part in loc:
        bare = _bare(kind)
        if dataclasses.is_dataclass(bare):
            kind = typing.get_type_hints(bare)[str(part)]
        elif typing.get_args(bare):
            kind = typing.get_args(bare)[-1]
    return _bare(kind)


def _bare(kind: Any) -> Any:
    """`X` of `Annotated[X, ...]` and of `X | None`."""
    while True:
        if typing.get_origin(kind) is Annotated:
            kind = typing.get_args(kind)[0]
        elif typing.get_origin(kind) in (typing.Union, types.UnionType):
            kind = next(part for part in typing.get_args(kind) if part is not type(None))
        else:
            return kind
