"""Docstrings say what signatures do not: every public function has one, and its `Args:` are its parameters."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "snpe_srgan"
FEW = 2  # parameters that a text of one line may leave to their names
# What other libraries document: click's commands and option types, layers, plugins, folders.
FOREIGN = {*dir(click.Group), *dir(click.ParamType), "build", "forward", "setup", "teardown", "cleanup"}

Classes = dict[str, list[ast.ClassDef]]


def files() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def classes_of(trees: list[ast.Module]) -> Classes:
    found: Classes = {}
    for node in (node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)):
        found.setdefault(node.name, []).append(node)
    return found


def lineage(node: ast.ClassDef, classes: Classes) -> Iterator[ast.ClassDef | None]:
    """All classes above a class; None for one of another library (of a name with a dot, or that we do not have)."""
    for base in node.bases:
        name = ast.unparse(base).partition("[")[0]
        found = [one for one in classes.get(name, []) if one is not node]
        for one in found:
            yield one
            yield from lineage(one, classes)
        if not found:
            yield None


def methods(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [member for member in node.body if isinstance(member, ast.FunctionDef)]


def public_functions(tree: ast.Module, classes: Classes) -> Iterator[tuple[str, ast.FunctionDef]]:
    """(name, function) of all that others call; overrides of what a base class documents, and commands, whose help
    text click shows, are left out."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            if not any("click." in text or ".command" in text for text in map(ast.unparse, node.decorator_list)):
                yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            above = set(lineage(node, classes))
            told = {m.name for base in above if base for m in methods(base) if ast.get_docstring(m)}
            told |= FOREIGN if None in above else set()
            for method in methods(node):
                if not method.name.startswith("_") and method.name not in told:
                    yield f"{node.name}.{method.name}", method


def parameters(function: ast.FunctionDef) -> list[str]:
    given = function.args
    rest = [one for one in (given.vararg, given.kwarg) if one is not None]
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs, *rest)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def listed(text: str) -> list[str] | None:
    """The names under `Args:`; None without such a section."""
    section = re.search(r"^Args:\n((?: {4}.*\n|\n)*)", text + "\n", re.MULTILINE)
    if section is None:
        return None
    heads = [line.strip().partition(":")[0] for line in section[1].splitlines() if re.match(r" {4}\S", line)]
    return [name.strip(" *`") for head in heads for name in head.split(",")]


def faults(tree: ast.Module, classes: Classes) -> Iterator[str]:
    for name, function in public_functions(tree, classes):
        text, own = ast.get_docstring(function) or "", parameters(function)
        if not text:
            yield f"{name} has no docstring"
        elif listed(text) is None and len(own) > FEW and not any(f"`{one}`" in text for one in own):
            yield f"{name} has {len(own)} parameters and says nothing of them"
    for node in ast.walk(tree):  # private ones too
        if isinstance(node, ast.FunctionDef) and (named := listed(ast.get_docstring(node) or "")) is not None:
            if strangers := sorted(set(named) - set(parameters(node))):
                yield f"{node.name} has no parameter {', '.join(strangers)}"
            if not named:
                yield f"{node.name} has an empty Args section"


def test_public_functions_say_what_they_take():
    trees = files()
    classes = classes_of(list(trees.values()))
    found = [f"{path.relative_to(PACKAGE)}: {fault}" for path, tree in trees.items() for fault in faults(tree, classes)]
    assert trees and found == []


SECTIONS = '"""Does.\n\n    Args:\n        {}: more\n            words: yes.\n\n    Returns:\n        c: d.\n    """'


@pytest.mark.parametrize("source, expected", [
    ("def f(a): pass", "f has no docstring"),
    ('def f(a, b, c):\n    "Adds them."', "f has 3 parameters and says nothing of them"),
    ('def f(a, b, c):\n    "Adds `b` to them."', None),
    (f"def f(a):\n    {SECTIONS.format('b')}", "f has no parameter b"),
    (f"def _f(a):\n    {SECTIONS.format('b')}", "_f has no parameter b"),
    ('def f(a):\n    """Does.\n\n    Args:\n\n    Returns:\n        c: d.\n    """', "f has an empty Args section"),
    (f"def f(a, *b, c=1):\n    {SECTIONS.format('a, *b, c')}", None),
    ("class A:\n    def f(self): pass", "A.f has no docstring"),
    ('class A:\n    def f(self):\n        "Does."\nclass B(A):\n    def f(self): pass', None),
    ("class A(tl.Module):\n    def build(self): pass", None),
    ("class A(tl.Module):\n    def train(self): pass", "A.train has no docstring"),
    ("class A:\n    def __len__(self): pass\n    def _g(self): pass\nclass _C:\n    def f(self): pass", None),
    ('@click.command()\n@click.option("-a")\ndef f(a): pass', None),
])  # fmt: skip
def test_the_gate_sees(source, expected):
    tree = ast.parse(source)
    assert list(faults(tree, classes_of([tree]))) == ([expected] if expected else [])
