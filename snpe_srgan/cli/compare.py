"""snpe-srgan compare bicubic.png mobile.png -o compare.html       # ready-made pictures under a slider
snpe-srgan compare mobile mobile-gan --picture photo.jpg          # what two networks make of a photo
snpe-srgan compare mobile out/mobile_w8a8.dlc --hr Set5/baby.png  # LR made from HR, PSNR beside each picture
snpe-srgan compare enlarged_a/ enlarged_b/ --hr Set5/             # pictures of the same name in folders
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snpe_srgan.cli.detail import find_model
from snpe_srgan.cli.ends import ends_options
from snpe_srgan.cli.options import Verb, common, output_option, overwrite_option

if TYPE_CHECKING:
    from snpe_srgan.console import Output
    from snpe_srgan.report.compare import Compared


@click.command(cls=Verb)
@click.argument("typed", metavar="A B...", nargs=-1, required=True)
@click.option(
    "--picture", "lr", metavar="LR", multiple=True, type=click.Path(),
    help="With models: a picture for each to enlarge; a file, folder or quoted glob; repeatable.",
)  # fmt: skip
@click.option(
    "--hr", metavar="HR", multiple=True, type=click.Path(),
    help="The original picture, for PSNR and difference maps. With models and without --picture, LR is made from it "
         "by bicubic. Repeatable; of several, those of the same name are paired.",
)  # fmt: skip
@click.option("--name", "names", metavar="NAME", multiple=True, help="Names for A, B, ... on the page, in order.")
@ends_options
@output_option("The page.", default="compare.html")
@overwrite_option
@common
def command(typed, lr, hr, names, said, out, overwrite, output):
    """Compare pictures or networks under a slider, in one .html file that works offline.

    A, B, ... are pictures (or folders of pictures), or models, each of which enlarges the given --picture; bicubic is
    then added. Pictures larger than 1536 pixels to a side are cut to the part with the most detail.
    """
    from snpe_srgan.artifacts.files import refuse_overwrite
    from snpe_srgan.errors import UsageError
    from snpe_srgan.report.compare import write_page

    refuse_overwrite(out, overwrite)
    if names and len(names) != len(typed):
        raise UsageError(f"{len(names)} --name for {len(typed)} pictures or models", hint="one --name each, in order")
    models = [is_model(one) for one in typed]
    if any(models) and not all(models):
        raise UsageError("compare takes models or pictures, not both at once", hint="make the pictures by run first")
    shown_as = names or _default_names(typed)
    if len(set(shown_as)) < len(shown_as):
        raise UsageError("two of them would have the same name on the page", hint="give each a --name")
    if models[0]:
        made = _models(typed, said, shown_as, lr, hr, output)
    else:
        if lr:
            raise UsageError("--picture goes with models: A, B, ... are pictures already")
        made = _pictures(typed, shown_as, hr, output)
    for one in made:
        for remark in one.shown.remarks:
            output.warn(f"{one.shown.title}: {remark}")
    written = write_page(made, out, title=" / ".join(shown_as), overwrite=overwrite)
    value = {
        "path": written.path, "bytes": written.bytes,
        "comparisons": [{"title": c.shown.title, "pictures": c.pictures} for c in written.comparisons],
    }  # fmt: skip
    output.result(value, text=_text(written))


def _text(written) -> list[str]:
    lines = []
    for one in written.comparisons:
        scores = [f"{p.name} {p.score.psnr:.2f} dB" for p in one.pictures if p.score is not None]
        lines.append(f"{one.shown.title}: " + (", ".join(scores) or f"{len(one.pictures)} pictures"))
    return [*lines, f"{written.path}: {written.bytes:,} bytes; open it in a browser"]


def is_model(typed: str) -> bool:
    """Whether a word is a model: a name, a run folder, a file with a model's suffix."""
    from snpe_srgan.zoo.resolve import IMPORTED, RUNNABLE, is_name

    path = Path(typed)
    if path.is_dir():
        return (path / "generator.npz").is_file() or (path / "saved_model.pb").is_file()
    return is_name(typed) or path.suffix.lower().lstrip(".") in (*RUNNABLE, *IMPORTED)


def _default_names(typed: Sequence[str]) -> list[str]:
    """The shortest of stem, file name and path that tells all apart."""
    ways: tuple[Callable[[str], str], ...] = (
        lambda t: Path(t).stem or t, lambda t: Path(t).name or t, lambda t: "/".join(Path(t).parts[-2:]), str,
    )  # fmt: skip
    return next((names for way in ways if len(set(names := [way(t) for t in typed])) == len(typed)), list(typed))


def _models(typed, said, shown_as, lr, hr, output: Output) -> list[Compared]:
    from snpe_srgan.errors import UsageError
    from snpe_srgan.imaging.pictures import read_picture
    from snpe_srgan.report.compare import compare_models, made_small
    from snpe_srgan.runtimes.open import open_session
    from snpe_srgan.runtimes.upscale import refuse_memory, upscale_picture

    if not lr and not hr:
        raise UsageError("the models need a picture to enlarge", hint="--picture photo.jpg, or --hr HR.png")
    files = [find_model(one, None, runs=True, said=said, output=output) for one in typed]
    low, high = _found(lr, output), _found(hr, output)
    pairs = _together([low, high] if high else [low], output) if low else {key: [path] for key, path in high.items()}
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(open_session(file, say=output.say)) for file in files]
        scales = sorted({session.scale for session in sessions})
        if len(scales) > 1:
            raise UsageError(f"the models enlarge by different factors: {', '.join(map(str, scales))}")
        scale = scales[0]
        for session, name in zip(sessions, shown_as, strict=True):
            for remark in session.description.remarks:
                output.warn(f"{name}: {remark}")
        enlarge = {
            name: lambda picture, session=session: upscale_picture(session, picture)[0]
            for name, session in zip(shown_as, sessions, strict=True)
        }
        made = []
        for number, (key, paths) in enumerate(pairs.items(), 1):
            output.note(f"({number}/{len(pairs)}) {paths[0]}")
            read = [read_picture(p, accept=lambda layout: refuse_memory(layout, scale if low else 1)) for p in paths]
            small, true = (read[0], read[1] if len(read) > 1 else None) if low else made_small(read[0], scale)
            if not low and true is not None and (true.height, true.width) != (read[0].height, read[0].width):
                output.warn(f"{key}: cut to {true.height}x{true.width}, a multiple of {scale}")
            made.append(compare_models(enlarge, small, scale=scale, hr=true, title=key))
    return made


def _pictures(typed, shown_as, hr, output: Output) -> list[Compared]:
    from snpe_srgan.errors import UsageError
    from snpe_srgan.imaging.pictures import read_picture
    from snpe_srgan.report.compare import Named, compare_pictures

    if len(typed) < 2 and not hr:
        raise UsageError("one picture has nothing to be compared with", hint="a second picture, or --hr HR.png")
    high = _found(hr, output)
    groups = _together([_found([one], output) for one in typed] + ([high] if high else []), output)
    made = []
    for number, (key, paths) in enumerate(groups.items(), 1):
        output.note(f"({number}/{len(groups)}) {key}")
        read = [read_picture(path) for path in paths]
        named = [Named(name, picture) for name, picture in zip(shown_as, read, strict=False)]
        made.append(compare_pictures(named, hr=read[-1] if high else None, title=key))
    return made


def _found(sources: Sequence[str], output: Output) -> dict[str, Path]:
    """Pictures by the name that they have in common with others: without suffix, and without the `_x4` of `run`."""
    from snpe_srgan.errors import InputError
    from snpe_srgan.runtimes.enlarge import find_pictures

    if not sources:
        return {}
    found, passed_over = find_pictures(sources)
    if passed_over:
        output.note(passed_over)
    named: dict[str, Path] = {}
    for path in found:
        key = re.sub(r"_x\d+$", "", path.stem)
        if key in named:
            raise InputError(f"two pictures are called '{key}'", where=f"{named[key]} and {path}")
        named[key] = path
    return named


def _together(groups: Sequence[dict[str, Path]], output: Output) -> dict[str, list[Path]]:
    """The pictures that belong together: single ones whatever their names, several by name."""
    from snpe_srgan.errors import InputError

    if all(len(group) == 1 for group in groups):
        first = next(iter(groups[-1]))
        return {first: [next(iter(group.values())) for group in groups]}
    common_names = [name for name in groups[0] if all(name in group for group in groups)]
    if not common_names:
        some = ", ".join(next(iter(group), "nothing") for group in groups)
        raise InputError("no picture has the same name in all of them", where=some[:200])
    left = max(len(group) for group in groups) - len(common_names)
    if left:
        output.warn(f"{left} pictures are not in all of them and were left out")
    return {name: [group[name] for group in groups] for name in common_names}
