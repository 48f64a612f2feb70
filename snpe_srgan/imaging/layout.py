"""What a picture's place says about it: HR or LR, of which half of a data set, made LR in which way, by which factor.

| folders | |
|---|---|
| `DIV2K_train_HR`, `DIV2K_train_LR_bicubic/X4/0001x4.png`, `..._LR_unknown`, `..._LR_mild/0001x4m.png` | DIV2K |
| `HR` + `LR`, `LRx4`, `LR_bicubic/X4`; `GT` + `LQ`; `GTmod12` + `LRbicx4` | most others |
| `train/HR` + `train/LR`, `valid/HR` + `valid/LR` | halves as folders |
| `img_HR.png` + `img_LR.png`, `0001.png` + `0001x4.png` in one folder | by the files' names |

Capitals do not matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

HR, LR = "HR", "LR"
SPLITS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid",
          "test": "test"}  # fmt: skip
# The way LR was made, best first: bicubic is what published numbers are about.
KINDS = ("bicubic", "", "unknown", "mild", "difficult", "wild")
# Only these words may follow: a folder called `my_lr_tests` is none of LR. After HR or LR alone any one word may.
_WORDS = (
    r"bicubic|bic|unknown|mild|difficult|wild|sub|subs|patches|crops?|aug|train|training|valid|val|validation|test"
    r"|mod\d+|x\d[mdw]?|\dx|\d+"
)
_ROLE = re.compile(
    r"(?:(?P<before>.+)[_\-.])?(?P<role>hr|gt|high[_\-]?res(?:olution)?|lr|lq|low[_\-]?res(?:olution)?)"
    rf"(?P<after>(?:[_\-.]?(?:{_WORDS}))*|(?<=^..)[_\-.][a-z]+(?:[_\-.]?(?:{_WORDS}))*)"
)
_SCALE = re.compile(r"x(\d)([mdw]?)\d*|(\d)x")
_SUFFIX = re.compile(r"(?P<stem>.+?)[_\-]?x(?P<scale>\d)(?P<kind>[mdw]?)\d*")
_NUMBERED = re.compile(r"(?P<stem>.*\d)x(?P<scale>\d)")
_NAMED = re.compile(r"(?P<stem>.+)[_\-](?P<role>hr|gt|lr|lq)")


@dataclass(frozen=True)
class Place:
    """What a picture is by its path.

    Attributes:
        role: HR, LR, or None where no name says so.
        group: the data set, as names above the folder of HR or LR; a HR and its LR share it.
        split: 'train', 'valid', 'test' or None.
        kind: how LR was made; '' where the name does not say.
        scale: None where the name does not say.
        rest: folders below that of HR or LR; a HR and its LR share them.
        stem: the file's name without suffix, in small letters.
    """

    path: Path
    role: str | None = None
    group: tuple[str, ...] = ()
    split: str | None = None
    kind: str = ""
    scale: int | None = None
    rest: tuple[str, ...] = ()
    stem: str = ""

    @property
    def family(self) -> tuple[tuple[str, ...], str | None]:
        """What pictures have in common that belong to one set: their group and their split."""
        return self.group, self.split


def role_of(name: str) -> str | None:
    """What a folder of this name holds."""
    match = _ROLE.fullmatch(name.casefold())
    return None if match is None else HR if match["role"][0] in "hg" else LR


def is_scale(name: str) -> bool:
    """Whether a folder is called `X4`, `x2` or `4x`."""
    return _SCALE.fullmatch(name.casefold()) is not None


def set_name(name: str) -> str:
    """`DIV2K_valid` of `DIV2K_valid_HR`; nothing of `HR`."""
    match = _ROLE.fullmatch(name.casefold())
    return name[: match.end("before")] if match and match["before"] else ""


def place_of(path: Path, root: Path) -> Place:
    """Reads the folders between `root` and the file."""
    place = Place(path, stem=path.stem.casefold())
    rest: list[str] = []
    for name in path.relative_to(root).parts[:-1]:
        name = name.casefold()
        match, scale = _ROLE.fullmatch(name), _SCALE.fullmatch(name)
        if place.role is None and match is not None:
            place = _entered(place, match, rest)
            rest = []
        elif place.role == LR and place.scale is None and scale is not None:
            place = replace(place, scale=int(scale[1] or scale[3]))
        elif place.role == LR and name in KINDS and not place.kind:
            place = replace(place, kind=name)
        else:
            rest.append(name)
    return replace(place, rest=tuple(rest))


def _entered(place: Place, match: re.Match[str], above: list[str]) -> Place:
    """The folder of HR or LR itself: `div2k_train_lr_bicubic`, `lrbicx4`, `gtmod12`."""
    words = [*above, *filter(None, re.split(r"[_\-. ]", match["before"] or ""))]
    after = re.sub(r"x?(\d)", r"_\g<0>", (match["after"] or "").replace("bicx", "bic_x"))
    tail = list(filter(None, re.split(r"[_\-. ]", after)))
    scales = [int(m[1] or m[3]) for m in map(_SCALE.fullmatch, tail) if m]
    splits = [SPLITS[w] for w in (*words, *tail) if w in SPLITS]
    kind = next((known for w in tail for known in ("bicubic", *KINDS[2:]) if w in (known, known[:3])), "")
    return replace(
        place,
        role=HR if match["role"][0] in "hg" else LR,
        group=tuple(w for w in words if w not in SPLITS),
        split=splits[-1] if splits else None,
        kind=kind,
        scale=scales[0] if scales else None,
    )


def without_suffix(stem: str) -> tuple[str, int | None]:
    """`0001x4m` -> (`0001`, 4): the name of the HR picture, and the factor that the LR picture's own name tells."""
    match = _SUFFIX.fullmatch(stem)
    return (match["stem"], int(match["scale"])) if match else (stem, None)


def roles_by_file_names(places: list[Place]) -> list[Place]:
    """HR and LR in one folder: `a_HR` + `a_LR`, `0001` + `0001x4`. A name without its other half says nothing."""
    known = {(p.family, p.rest, p.stem) for p in places}
    named = {(p.family, p.rest, m["stem"], m["role"][0] in "hg") for p in places if (m := _NAMED.fullmatch(p.stem))}
    found = []
    for place in places:
        by_word, by_number = _NAMED.fullmatch(place.stem), _NUMBERED.fullmatch(place.stem)
        where = (place.family, place.rest)
        if by_word and {(*where, by_word["stem"], high) for high in (True, False)} <= named:
            role = HR if by_word["role"][0] in "hg" else LR
            place = replace(place, role=role, stem=by_word["stem"])
        elif by_number and (*where, by_number["stem"]) in known:
            place = replace(place, role=LR, stem=by_number["stem"], scale=int(by_number["scale"]))
        found.append(place)
    return found
