"""Reads and writes the YAML of configs: the YAML 1.2 core, with limits, as a config may come from a stranger.

    read_yaml("a: 1e-4")          # {"a": 0.0001}

PyYAML's scanner and composer turn text into nodes; what the nodes mean is decided here, as YAML 1.1 surprises: `010` is
8 there, `1:30` is 90, `on` is true, `1e-4` is text, a key given twice counts once. Here a number is decimal, `true` and
`false` are the only booleans, everything else is text, and a key given twice is an error. Anchors, aliases and merge
keys (`<<`) work, up to a size that no config of a person reaches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import yaml

MAX_BYTES = 100_000  # the longest config of this project has 3,000
MAX_EXPANDED = 200_000  # characters and nodes after all aliases are written out
MAX_DEPTH = 30
MAX_DIGITS = 30

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
_PLAIN = "plain"  # the tag that our loader gives a scalar without quotes and without a tag of its own
_TAGS = (_PLAIN, *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")))
_MERGE = "<<"

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"


class YamlError(ValueError):
    """The text is not YAML, or not what this reader takes; the message says why and on which line."""


def read_yaml(text: str) -> Value:
    """The value that a YAML text stands for; None for a text without any.

    Raises:
        YamlError: for everything that is wrong with the text.
    """
    if len(text) > MAX_BYTES:
        raise YamlError(f"it has more than {MAX_BYTES:,} characters")
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise YamlError(f"{_at(error.problem_mark)}{error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"line {line}: the character U+{error.character:04X} is not allowed") from error
    except RecursionError as error:
        raise YamlError(f"it is nested deeper than {MAX_DEPTH} levels") from error
    except Exception as error:  # PyYAML's scanner lets others escape, e.g. OverflowError of "\\UFFFFFFFF"
        raise YamlError(f"{type(error).__name__}: {error}") from error
    return None if node is None else _Reader().value(node, 0)


def write_yaml(value: Mapping[str, object]) -> str:
    """YAML that `read_yaml` reads as the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Loader(yaml.SafeLoader):
    """Leaves open what a scalar without quotes is: `_Reader` decides it."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else self.DEFAULT_SCALAR_TAG
        return super().resolve(kind, value, implicit)


class _Dumper(yaml.SafeDumper):
    """Quotes what any reader, of YAML 1.1 or ours, would take for something else than text; line ends of Unicode, which
    a reader folds into spaces, are escaped."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = '"' if any(end in text for end in "\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"^{_FLOAT.pattern}$"), list("-+.0123456789"))


class _Reader:
    """Nodes to values. `left` is how much more the text may expand to."""

    def __init__(self) -> None:
        self.left = MAX_EXPANDED

    def value(self, node: yaml.Node, depth: int) -> Value:
        self._spend(1 + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0), node)
        if depth > MAX_DEPTH:
            raise YamlError(f"{_at(node.start_mark)}it is nested deeper than {MAX_DEPTH} levels")
        if node.tag not in _TAGS:
            raise YamlError(f"{_at(node.start_mark)}the tag {node.tag[:40]!r} is not allowed")
        if isinstance(node, yaml.MappingNode):
            return self._section(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        return _scalar(node) if node.tag == _PLAIN else node.value

    def _section(self, node: yaml.MappingNode, depth: int) -> dict[str, Value]:
        section: dict[str, Value] = {}
        inherited: dict[str, Value] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(f"{_at(key_node.start_mark)}a key must be a word")
            key, line = key_node.value, key_node.start_mark.line + 1
            self._spend(1 + len(key), key_node)
            if key in lines:
                raise YamlError(f"the key '{key[:40]}' stands twice in one section, in lines {lines[key]} and {line}")
            lines[key] = line
            if key == _MERGE and key_node.tag == _PLAIN:
                inherited = self._merged(value_node, depth)
            else:
                section[key] = self.value(value_node, depth + 1)
        return {**inherited, **section} if inherited else section

    def _merged(self, node: yaml.Node, depth: int) -> dict[str, Value]:
        """The keys of `<<: *section` or `<<: [*first, *second]`, of which the first wins."""
        value = self.value(node, depth + 1)
        merged: dict[str, Value] = {}
        for part in reversed(value if isinstance(value, list) else [value]):
            if not isinstance(part, dict):
                raise YamlError(f"{_at(node.start_mark)}'<<' takes in sections only")
            merged |= part
        return merged

    def _spend(self, amount: int, node: yaml.Node) -> None:
        self.left -= amount
        if self.left < 0:
            raise YamlError(f"{_at(node.start_mark)}its aliases (*) expand to more than {MAX_EXPANDED:,} characters")


def _scalar(node: yaml.Node) -> Value:
    """What a scalar without quotes stands for."""
    text = node.value
    if text in _WORDS:
        return _WORDS[text]
    if not _FLOAT.fullmatch(text):
        return text
    if len(text) > MAX_DIGITS:
        raise YamlError(f"{_at(node.start_mark)}a number of {len(text):,} characters")
    if _INT.fullmatch(text):
        return int(text)
    number = float(text)
    if abs(number) == float("inf"):
        raise YamlError(f"{_at(node.start_mark)}the number {text} is too large")
    return number


def _at(mark: yaml.Mark | None) -> str:
    return "" if mark is None else f"line {mark.line + 1}: "
