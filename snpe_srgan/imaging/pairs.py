"""Data sets of HR pictures, with the LR pictures that lie beside them: one reader for training, scoring, calibration.

    found = find_set("DIV2K", scale=4, splits=("train",))
    found.files[0].hr, found.files[0].lr, found.origin, found.remarks

layout.py lists the known layouts. LR pictures that are there are used; where there are none, or none of the
scale, LR is to be made by bicubic. `origin` and `remarks` say which, and what was passed over.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging import layout
from snpe_srgan.imaging.finder import find_in_folder, find_pictures
from snpe_srgan.imaging.layout import HR, LR, Place

BICUBIC = "LR made from HR by MATLAB-compatible bicubic"


@dataclass(frozen=True)
class PictureFiles:
    """One picture: `lr` is None where LR is to be made. `name` is the file's, unique in the set."""

    name: str
    hr: Path
    lr: Path | None = None


@dataclass(frozen=True)
class PictureSet:
    """The pictures of a data set in natural order; never none.

    Attributes:
        origin: one line that says where LR comes from; it belongs beside every number.
        remarks: lines on what was not used.
    """

    name: str
    files: tuple[PictureFiles, ...]
    origin: str
    remarks: tuple[str, ...] = ()


def find_set(path: str | os.PathLike, *, scale: int, splits: Sequence[str]) -> PictureSet:
    """The data set in a folder (searched with the folders in it), or the pictures of a glob or file as HR.

    Args:
        path: the set's folder, or its folder of HR (LR is found beside it), or one of LR (HR is found beside it, and
            this LR is used).
        splits: which half is wanted of a set that has halves: the first of these that it has.

    Raises:
        InputError: nothing there, no such half, an LR picture that is missing or belongs to two.
    """
    folder = Path(path)
    if not os.path.isdir(folder):
        found = find_pictures(path)
        files = [PictureFiles(name, p) for name, p in zip(distinct_names(found.pictures), found.pictures, strict=True)]
        return PictureSet(folder.stem, tuple(files), BICUBIC, _said(found.passed.line()))
    named = Path(os.path.realpath(folder))
    role = layout.role_of(named.name)
    places, remarks = _places(folder, named, role)
    low = [p for p in places if p.role == LR]
    wanted = [p for p in places if p.role == HR]
    if role is None:
        wanted = _half(wanted, splits, folder)
    elif role == LR:
        wanted = [p for p in wanted if p.family in {q.family for q in low}]
    if not wanted:
        raise _nothing(folder, places, remarks)
    families = {p.family for p in wanted}
    chosen, more = _choose([p for p in low if p.family in families], scale)
    partners = _partners(wanted, chosen)
    names = distinct_names([p.path for p in wanted])
    files = [PictureFiles(n, p.path, partners.get(p.path)) for n, p in zip(names, wanted, strict=True)]
    unused = len(chosen) - len(partners)
    if unused:
        more.append(f"passed over: {_pictures(unused, 'LR ')} without an HR picture")
    return PictureSet(_name(wanted, named), tuple(files), _origin(files), (*remarks, *more))


def _places(folder: Path, named: Path, role: str | None) -> tuple[list[Place], list[str]]:
    """Every picture of the set with its role, HR or LR. For a folder of the one the folders beside it are searched for
    the other."""
    found = find_in_folder(folder, deep=True)
    if role is None:
        if layout.is_scale(named.name) and layout.role_of(named.parent.name) == LR:
            raise _nothing(folder, [Place(folder)], [])
        places = [layout.place_of(path, folder) for path in found.pictures]
    else:
        places = [
            replace(layout.place_of(named / path.relative_to(folder), named.parent), path=path)
            for path in found.pictures
        ]
        for beside in sorted(named.parent.iterdir()):
            if layout.role_of(beside.name) not in (None, role) and beside.is_dir():
                more = find_in_folder(beside, deep=True).pictures
                places += [layout.place_of(path, named.parent) for path in more]
    remarks = list(_said(found.passed.line()))
    folders_of_hr = any(p.role == HR for p in places)
    low = [p for p in places if p.role == LR]
    rest = layout.roles_by_file_names([p for p in places if p.role != LR])
    if folders_of_hr:
        stray = sum(p.role is None for p in rest)
        if stray:
            remarks.append(f"passed over: {_pictures(stray)} outside the folders of HR and LR")
        return [*(p for p in rest if p.role), *low], remarks
    rest = [p if p.role else replace(p, role=HR) for p in rest]
    stems = {p.stem for p in rest}
    if rest and not any({p.stem, layout.without_suffix(p.stem)[0]} & stems for p in low):
        if low:  # a folder called lr, and no picture of the same name outside it
            remarks.append(f"passed over: {_pictures(len(low), 'LR ')} without an HR picture ({low[0].path.parent})")
        low = []
    return [*rest, *low], remarks


def _half(places: list[Place], splits: Sequence[str], folder: Path) -> list[Place]:
    there = {p.split for p in places if p.split}
    if not there:
        return places
    split = next((s for s in splits if s in there), None)
    if split is None:
        hint = f"it has: {', '.join(sorted(there))}"
        raise InputError(f"this data set has no split '{splits[0]}'", where=folder, hint=hint)
    return [p for p in places if p.split == split]


def _choose(low: list[Place], scale: int) -> tuple[list[Place], list[str]]:
    """The LR pictures of the scale, made in one way; and what is to be said of the others."""
    of_scale, others = [], set()
    for place in low:
        own = place.scale or layout.without_suffix(place.stem)[1]
        if own in (None, scale):
            of_scale.append(place)
        else:
            others.add(own)
    if not of_scale:
        told = ", ".join(f"x{s}" for s in sorted(others))
        return [], [f"LR pictures are there for {told}, not for x{scale}: {BICUBIC}"] if others else []
    first, *unused = sorted({p.kind for p in of_scale}, key=layout.KINDS.index)
    said = f"LR pictures of kind {', '.join(k or 'plain' for k in unused)} are not used; name their folder to use them"
    return [p for p in of_scale if p.kind == first], [said] if unused else []


def _partners(high: list[Place], low: list[Place]) -> dict[Path, Path]:
    """HR picture -> LR picture, for the data sets that have LR pictures. None is missing, none is used twice."""
    families = {p.family for p in low}
    near, far = collections.defaultdict(list), collections.defaultdict(list)
    for place in low:
        for stem in dict.fromkeys((place.stem, layout.without_suffix(place.stem)[0])):
            near[place.family, place.rest, stem].append(place)
            far[place.family, stem].append(place)
    partners: dict[Path, Path] = {}
    missing, users = [], collections.defaultdict(list)
    for place in high:
        if place.family not in families:
            continue
        found = near[place.family, place.rest, place.stem] or far[place.family, place.stem]
        exact = [p for p in found if p.path.suffix.lower() == place.path.suffix.lower()] or found
        exact = [p for p in exact if p.stem == place.stem] or exact
        if not exact:
            missing.append(place.path.stem)
            continue
        partners[place.path] = exact[0].path
        users[exact[0].path].append(place.path)
    if missing:
        raise InputError(
            f"{len(missing)} of {len(high)} HR pictures have no LR picture: {', '.join(missing[:5])}"
            + (", ..." if len(missing) > 5 else ""),
            where=low[0].path.parent, hint="add them, or move the LR folder away: LR is then made by bicubic",
        )  # fmt: skip
    for lr, claimed in users.items():
        if len(claimed) > 1:
            raise InputError(
                f"two HR pictures have one LR picture, {lr.name}", where=f"{claimed[0]} and {claimed[1]}",
                hint="give the two pictures different names, and each its LR picture",
            )  # fmt: skip
    return partners


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """A name for each picture that no other has: `a`, where need be `a_png`, then with its folders, `sub_a_png`."""
    def with_folders(path: Path, *, folders: int) -> str:
        return "_".join((*path.parts[-folders - 1 : -1], path.name.replace(".", "_")))

    deepest = max((len(p.parts) for p in paths), default=0)
    ways: list[Callable[[Path], str]] = [lambda p: p.stem]
    ways += [partial(with_folders, folders=n) for n in range(max(1, deepest))]
    names = [ways[0](p) for p in paths]
    for way in ways[1:]:
        taken = collections.Counter(name.casefold() for name in names)
        if max(taken.values(), default=1) == 1:
            break
        names = [way(p) if taken[name.casefold()] > 1 else name for p, name in zip(paths, names, strict=True)]
    seen: collections.Counter[str] = collections.Counter()
    for index, name in enumerate(names):  # `a.png` and `A.png`: two files here, one where capitals do not count
        seen[name.casefold()] += 1
        if seen[name.casefold()] > 1:
            names[index] = f"{name}_{seen[name.casefold()]}"
    return names


def _origin(files: Sequence[PictureFiles]) -> str:
    folders = dict.fromkeys("/".join(f.lr.parent.parts[-2:]) for f in files if f.lr)
    read = sum(f.lr is not None for f in files)
    if not read:
        return BICUBIC
    told = f"LR read from {', '.join(list(folders)[:3])}" + (", ..." if len(folders) > 3 else "")
    return told if read == len(files) else f"{told} for {read} of {len(files)} pictures, for the others {BICUBIC[3:]}"


def _nothing(folder: Path, places: list[Place], remarks: list[str]) -> InputError:
    if places:
        return InputError(
            "there are LR pictures only, and no HR pictures beside them", where=folder,
            hint="name a folder that holds HR pictures",
        )  # fmt: skip
    told = f" ({'; '.join(remarks)})" if remarks else ""
    return InputError(f"no pictures in this folder{told}", where=folder, hint="name a folder with .png or .jpg files")


def _name(wanted: Sequence[Place], named: Path) -> str:
    """The data set's name: `DIV2K_valid` of `DIV2K_valid_HR`, `Set5` of `Set5/HR`, else the folder's own."""
    folders = {next((q for q in p.path.absolute().parents if layout.role_of(q.name) == HR), named) for p in wanted}
    folder = folders.pop()
    if folders or (folder == named and layout.role_of(named.name) != HR):
        return named.name
    before = layout.set_name(folder.name)
    return before or folder.parent.name


def _pictures(number: int, what: str = "") -> str:
    return f"{number} {what}picture" + ("" if number == 1 else "s")


def _said(line: str | None) -> tuple[str, ...]:
    return (line,) if line else ()


def fit_pair(
    hr: np.ndarray, lr: np.ndarray, *, scale: int, hr_path: Path, lr_path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """HR and LR cut at the bottom and right to sizes that belong together.

    Args:
        hr: (h, w, 3).
        lr: (h / scale, w / scale, 3), each side rounded down or, as MATLAB's imresize does, up.

    Raises:
        InputError: any other sizes; it names both files.
    """
    height, width = (side // scale for side in hr.shape[:2])
    for have, least, side in zip(lr.shape[:2], (height, width), hr.shape[:2], strict=True):
        if not least <= have <= -(-side // scale):
            raise InputError(
                f"LR of {lr.shape[0]}x{lr.shape[1]} does not belong to HR of {hr.shape[0]}x{hr.shape[1]} at scale "
                f"{scale}", where=f"{lr_path} and {hr_path}",
                hint=f"move {lr_path.parent} away to have LR made from HR by bicubic",
            )  # fmt: skip
    return hr[: height * scale, : width * scale], lr[:height, :width]
