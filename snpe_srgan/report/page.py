"""Pages of one file each, from the templates in `templates/`: no request leaves them, whatever a name in them says.

The page's own policy (Content-Security-Policy) allows pictures inside the page and this package's scripts, known by
their SHA-256, and nothing else: a script in a picture's name would not run even where a template forgot to escape it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from snpe_srgan import __version__

if TYPE_CHECKING:
    import jinja2

SLIDER = "vendor/img-comparison-slider"
SCRIPTS = ("templates/head.js", f"{SLIDER}/index.js", "templates/page.js")
STYLES = (f"{SLIDER}/styles.css", "templates/page.css")


@dataclass(frozen=True)
class Table:
    """A table under a heading; the first column to the left, the others to the right."""

    heading: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    notes: tuple[str, ...] = ()


def page(template: str, **values: object) -> str:
    """A whole HTML document.

    Args:
        template: a name in `templates/`.
        values: what the template names; all text is escaped.
    """
    return _environment().get_template(template).render(**values, version=__version__)


@lru_cache
def _environment() -> jinja2.Environment:
    import jinja2
    from markupsafe import Markup

    scripts = [_text(name) for name in SCRIPTS]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("snpe_srgan.report", "templates"), undefined=jinja2.StrictUndefined,
        autoescape=True, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(
        head_script=Markup(scripts[0]),
        scripts=[Markup(text) for text in scripts[1:]],
        style=Markup("\n".join(map(_text, STYLES))),
        policy="default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "script-src " + " ".join(f"'sha256-{_digest(text)}'" for text in scripts),
    )
    return environment


def _text(name: str) -> str:
    return resources.files("snpe_srgan.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
