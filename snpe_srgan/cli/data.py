"""Pictures to train on: the sample set, DIV2K, or your own; decoded once.

snpe-srgan data sample                        # nine training pictures, four for validation, no network needed
snpe-srgan data download --split train        # DIV2K, resumed when interrupted
snpe-srgan data prepare sample ~/photos       # decode now what `train` would decode first
snpe-srgan data info ~/photos
snpe-srgan data preview ~/photos --strength 0.5
"""

from __future__ import annotations

from pathlib import Path

import click

from snpe_srgan.cli.options import Finite, Verb, Whole, common, output_option, overwrite_option

SPLITS = ("train", "valid")
PRESETS = ("bicubic", "jpeg", "photo")  # data.degradation.recipe's, which --help need not load
DIV2K_URL = "https://data.vision.ee.ethz.ch/cvl/DIV2K"


@click.group("data")
def command():
    """Download DIV2K, decode pictures once, make the sample set.

    A SOURCE is 'sample', 'div2k' or a folder of pictures (searched recursively). LR pictures beside HR (HR + LRx4,
    GT + LQ, DIV2K's names and others) are used; otherwise LR is made by bicubic.
    """


@command.command("sample", cls=Verb)
@output_option("Folder to write.", default="data/sample")
@overwrite_option
@common
def sample(output, out, overwrite):
    """Make a tiny set in DIV2K's layout from the photographs that scikit-image ships."""
    from snpe_srgan.data.sample import make_sample

    made = make_sample(out, overwrite=overwrite)
    output.result(made, text=f"{made.root}: {made.train} training and {made.valid} validation pictures")


@command.command("download", cls=Verb)
@click.option("--split", type=click.Choice([*SPLITS, "all"]), default="all", help="Half of the data set to download.")
@click.option(
    "--scale",
    "scales",
    type=click.Choice(["2", "3", "4", "none"]),
    multiple=True,
    default=["4"],
    help="LR pictures to download as well; repeatable. With 'none', LR is made from HR by the same bicubic.",
)
@click.option("--mirror", default=DIV2K_URL, help="Folder on a web server that holds the zip files.")
@click.option("--keep-archives", is_flag=True, help="Keep the zip files.")
@output_option("Folder to write.", default="data/DIV2K")
@overwrite_option
@common
def download(output, split, scales, mirror, keep_archives, out, overwrite):
    """Download DIV2K; it resumes after an interruption and checks SHA-256 sums. About 4.3 GB; for academic research."""
    from snpe_srgan.data.catalogue import TERMS, select
    from snpe_srgan.data.div2k import fetch
    from snpe_srgan.errors import UsageError

    if "none" in scales and len(scales) > 1:
        raise UsageError("--scale none cannot be joined with other scales")
    output.note(TERMS)
    wanted = select(SPLITS if split == "all" else [split], [int(s) for s in scales if s != "none"])
    fetched = fetch(
        wanted,
        out,
        mirror=mirror,
        keep_archives=keep_archives,
        overwrite=overwrite,
        say=output.say,
    )
    lines = [
        f"{f.folder}: {f.pictures} pictures, " + (f"verified by {f.verified}" if f.downloaded else "there already")
        for f in fetched
    ]
    output.result({"root": Path(out), "archives": fetched}, text=lines)


@command.command("prepare", cls=Verb)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--split", type=click.Choice(SPLITS), default="train", help="Half of a data set that has halves.")
@click.option("--scale", type=click.Choice(["2", "3", "4"]), default="4", help="HR pixels per LR pixel.")
@click.option(
    "--crop",
    type=Whole(1, 10**9),
    default=96,
    help="Side of the training crop that each picture must hold, in HR pixels.",
)
@click.option("--root", type=click.Path(), default="data", help="Folder that holds 'sample' and 'div2k'.")
@output_option("Folder of the caches.", default="data/cache")
@common
def prepare(output, sources, split, scale, crop, root, out):
    """Decode pictures once into a memory-mapped cache. `train` does this by itself; here you can do it beforehand."""
    from snpe_srgan.data.cache import prepare as prepare_cache
    from snpe_srgan.data.sources import find_pictures

    said: list[str] = []
    pairs = find_pictures(list(sources), root=root, split=split, scale=int(scale), say=said.append)
    for line in said:
        output.note(line)
    cache = prepare_cache(pairs, out, scale=int(scale), min_size=crop, say=output.say)
    result = {"folder": cache.folder, "pictures": len(cache), "scale": cache.scale, "hr_pixels": cache.pixels,
              "lr_from_files": sum(pair.lr is not None for pair in pairs), "remarks": said}  # fmt: skip
    text = f"{cache.folder}: {len(cache)} pictures, {cache.pixels / 1e6:.1f} megapixels, x{cache.scale}"
    output.result(result, text=text)


@command.command("preview", cls=Verb)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--split", type=click.Choice(SPLITS), default="train", help="Half of a data set that has halves.")
@click.option("--scale", type=click.Choice(["2", "3", "4"]), default="4", help="HR pixels per LR pixel.")
@click.option("--preset", type=click.Choice(PRESETS), default="photo", help="As data.degradation.preset of a config.")
@click.option(
    "--strength", type=Finite(0, 1), default=1.0, help="How far the published ranges are used, 0 to 1."
)
@click.option("--count", type=Whole(1, 64), default=12, help="Pairs to show.")
@click.option("--seed", type=Whole(0, 2**63 - 1), default=0, help="Another seed shows other windows.")
@click.option("--root", type=click.Path(), default="data", help="Folder that holds 'sample' and 'div2k'.")
@output_option("PNG file to write.", default="preview.png")
@overwrite_option
@common
def preview(output, sources, split, scale, preset, strength, count, seed, root, out, overwrite):
    """Make a contact sheet of LR / HR pairs as a training with `data.degradation` sees them."""
    from snpe_srgan.data.degradation.preview import contact_sheet, draw_pairs
    from snpe_srgan.data.sources import find_pictures
    from snpe_srgan.imaging.pictures import Picture, write_picture

    pictures = find_pictures(list(sources), root=root, split=split, scale=int(scale))
    pairs = draw_pairs(pictures, scale=int(scale), preset=preset, strength=strength, count=count, seed=seed)
    write_picture(Path(out), Picture(contact_sheet(pairs)), overwrite=overwrite)
    result = {"sheet": Path(out), "preset": preset, "strength": strength, "pairs": [pair.facts() for pair in pairs]}
    output.result(result, text=f"{out}: {len(pairs)} pairs, LR (enlarged by repeating pixels) left of HR")


@command.command("info", cls=Verb)
@click.argument("source", metavar="SOURCE")
@click.option("--split", type=click.Choice(SPLITS), default="train", help="Half of a data set that has halves.")
@click.option("--scale", type=click.Choice(["2", "3", "4"]), default="4", help="HR pixels per LR pixel.")
@click.option("--root", type=click.Path(), default="data", help="Folder that holds 'sample', 'div2k' and the caches.")
@common
def info(output, source, split, scale, root):
    """Show how many pictures a source or cache holds, their sizes and bit depths, and whether they are decoded."""
    from snpe_srgan.data.info import describe

    found = describe(source, root=root, split=split, scale=int(scale))
    kinds = ", ".join(f"{count} x {name}" for name, count in found.kinds.items())
    lines = [
        f"{found.source}: {found.pictures} pictures, {found.megapixels:.1f} megapixels ({kinds})",
        f"smallest {found.smallest}, largest {found.largest} (height x width)",
        f"LR pictures: {found.with_lr} from files, {found.pictures - found.with_lr} to be made by bicubic",
        *found.remarks,
        f"cache: {found.cache or 'not made yet'}",
        *(f"unreadable: {name}" for name in found.unreadable),
    ]
    output.result(found, text=lines)
