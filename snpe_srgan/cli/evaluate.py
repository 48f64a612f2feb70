"""snpe-srgan evaluate generator.npz path/to/Set5 path/to/Set14
snpe-srgan evaluate generator_w8a8.dlc Set5 --on emulator --limit 1
snpe-srgan evaluate generator.npz Set5 --min-psnr 31.0        # exit code 1 when it is less
snpe-srgan evaluate bicubic Set5
snpe-srgan evaluate mobile Set5 --perceptual hed_vgg16        # how far its pictures look from HR to a network
snpe-srgan evaluate mobile-photo photos --niqe                # photos without an original: how natural they look
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import click

from snpe_srgan.cli.cluster import workers_for
from snpe_srgan.cli.detail import detail_option, find_model
from snpe_srgan.cli.ends import ends_options
from snpe_srgan.cli.options import Finite, Size, Verb, Whole, common, jobs_option, overwrite_option
from snpe_srgan.cli.sessions import model_of, open_model, session_options
from snpe_srgan.parallel import Jobs, Processes, here
from snpe_srgan.progress import track


@click.command(cls=Verb)
@click.argument("model", metavar="MODEL")
@click.argument("datasets", metavar="DATASET...", nargs=-1)
@click.option("--protocol", type=click.Choice(["y", "rgb"]), default="y", help="Compare luma, or all three channels.")
@click.option("--border", type=Whole(0, 256), help="Pixels cut from each side; the scale if left out.")
@detail_option
@ends_options
@session_options()
@click.option("--tile", type=Size(), help="Cut pictures into tiles of this LR size; by default chosen by free memory.")
@click.option("--scale", type=Whole(1, 16), default=4, help="For MODEL 'bicubic' only.")
@click.option("--limit", type=Whole(1, 10**9), help="Only the first pictures of each set, or frames of a video.")
@click.option(
    "--perceptual",
    type=click.Choice(["squeezenet", "hed_vgg16", "vgg16", "vgg19", "lpips"]),
    help="Also measure a perceptual distance on this network's features; lpips needs both files.",
)
@click.option("--perceptual-weights", type=click.Path(), metavar="FILE", help="That network's weights.")
@click.option("--lpips-heads", type=click.Path(), metavar="FILE", help="LPIPS' trained channel weights (.npz).")
@click.option("--save-images", type=click.Path(), metavar="DIR", help="Write the model's pictures to DIR/<dataset>/.")
@click.option(
    "--niqe", "unpaired", is_flag=True,
    help="DATASET is photos without an original: enlarge them and score how natural they look (NIQE).",
)  # fmt: skip
@jobs_option("a process for each core on the emulator, else 1")
@click.option("--plot", type=click.Path(), metavar="FILE", help="Videos: the scores over time as a .png.")
@click.option("--min-psnr", type=Finite(-1000, 1000), help="Exit with 1 if the mean PSNR of any set is lower.")
@overwrite_option
@common
def command(
    model, datasets, detail, said, protocol, border, tile, scale, limit, perceptual, perceptual_weights, lpips_heads,
    save_images, unpaired, jobs, cluster, plot, min_psnr, mix, mix_above, overwrite, output, **where,
):  # fmt: skip
    """Measure PSNR and SSIM of a model against bicubic.

    MODEL may also be 'bicubic'. DATASET is a folder of HR beside LR (HR + LRx4, GT + LQ, DIV2K's names and
    others: LR is read), a folder of pictures (LR is made by MATLAB-compatible bicubic), or a video, whose frames are
    the originals (PSNR, SSIM, VMAF and VMAF-NEG, per frame with --json).
    """
    from snpe_srgan.artifacts.staging import unfinished
    from snpe_srgan.cli.video_evaluate import evaluate_videos
    from snpe_srgan.errors import UsageError
    from snpe_srgan.metrics.dataset import find_evaluation_set
    from snpe_srgan.metrics.evaluate import evaluate
    from snpe_srgan.metrics.protocol import Protocol
    from snpe_srgan.runtimes.source import settled
    from snpe_srgan.video.kinds import is_video

    datasets = datasets if mix is None else (model, *datasets)
    model, where["mix"] = model_of(model if mix is None else None, mix, mix_above, detail)
    if not datasets:
        raise UsageError("Missing argument 'DATASET...'.", hint=f"snpe-srgan evaluate {model} path/to/Set5")
    if unpaired:
        if min_psnr is not None or perceptual or save_images or protocol != "y" or border is not None:
            raise UsageError("--niqe has no original to compare with: it goes without --min-psnr, --perceptual, "
                             "--protocol, --border and --save-images", hint="`run` writes the pictures")  # fmt: skip
        _unpaired(output, model, datasets, detail=detail, said=said, scale=scale, limit=limit, tile=tile, jobs=jobs,
                  cluster=cluster, **where)  # fmt: skip
        return
    chosen = Protocol(protocol, border)
    if any(map(is_video, datasets)):
        if perceptual or save_images or jobs or cluster:
            raise UsageError("--perceptual, --save-images, --jobs and --cluster are for pictures, not for videos")
        if detail is not None and model == "bicubic":
            raise UsageError("--detail is between two networks, and bicubic is none")
        evaluate_videos(
            model, datasets, session_for=lambda: _session_for(model, detail, said, where, output), scale=scale,
            protocol=chosen, limit=limit, tile=tile, plot=plot, min_psnr=min_psnr, overwrite=overwrite, output=output,
        )  # fmt: skip
        return
    if plot:
        raise UsageError("--plot is for videos")
    distance = _distance(perceptual, perceptual_weights, lpips_heads)
    with contextlib.ExitStack() as stack:
        many = stack.enter_context(workers_for(jobs, cluster, output))
        session, processes = None, Processes(many or 1, _reopened)
        if detail is not None and model == "bicubic":
            raise UsageError("--detail is between two networks, and bicubic is none")
        if model != "bicubic":
            file = find_model(model, detail, runs=True, said=said, output=output)
            if many or where["on"] == "emulator":
                file = settled(file)  # once, not in each process
            processes = _processes(many, file, where)
            session = stack.enter_context(open_model(file, **where, say=output.say))
            scale = session.scale
            for remark in session.description.remarks:
                output.warn(remark)
        sets = [find_evaluation_set(path, scale=scale) for path in datasets]
        savers = _savers(save_images, sets, overwrite)
        if save_images:
            stack.enter_context(unfinished(save_images))
        results = []
        for data, saver in zip(sets, savers, strict=True):
            for line in (data.describe(), *data.remarks):
                output.note(line)
            with track(output.say, f"evaluating {data.name}", unit="picture") as progress:
                results.append(
                    evaluate(
                        session, data, protocol=chosen, limit=limit, tile=tile, perceptual=distance, save=saver,
                        progress=progress.to, processes=processes,
                    )
                )  # fmt: skip
    _finish(output, mix or model, results, min_psnr)


def _finish(output, model: str, results, min_psnr: float | None) -> None:
    """Prints the tables; exit code 1 where a set's mean is less than was asked for."""
    from snpe_srgan.errors import CheckFailed

    for r in results:
        if r.remark:
            output.warn(f"{r.dataset}: {r.remark}")
    missed = [r for r in results if min_psnr is not None and r.mean.psnr < min_psnr]
    output.result(
        {"model": model, "passed": not missed, "min_psnr": min_psnr, "datasets": results}, text=_text(results)
    )
    if missed:
        for r in missed:
            error = CheckFailed(
                f"{r.mean.psnr:.2f} dB is less than --min-psnr {min_psnr:g}", where=f"{model} on {r.dataset}"
            )
            output.error(error.lines())
        raise SystemExit(CheckFailed.exit_code)


def _processes(jobs: Jobs | None, file, where: dict) -> Processes:
    """Processes that open the model as `open_model` does here."""
    from snpe_srgan.artifacts.files import sha256
    from snpe_srgan.errors import UsageError
    from snpe_srgan.machine import usable_threads

    if jobs is None:
        jobs = usable_threads() if where["on"] == "emulator" else 1
    if not here(jobs) and where["on"] in ("sdk", "device"):
        raise UsageError(f"--jobs and --cluster do not go with --on {where['on']}: there is one of it")
    if isinstance(jobs, int):
        return Processes(jobs, _reopened, (file, where))
    file = replace(file, path=file.path.absolute())
    mix = where["mix"]
    if mix is not None:
        mix = replace(mix, small=replace(mix.small, path=mix.small.path.absolute()))
    digests = {one.path: sha256(one.path) for one in (file, *([mix.small] if mix else []))}
    return Processes(jobs, _reopened, (file, {**where, "mix": mix}, digests))


def _reopened(file, where: dict, digests: dict[Path, str] | None = None):
    """The session in another process; on another machine if that finds files of these SHA-256 there."""
    from snpe_srgan.artifacts.files import sha256
    from snpe_srgan.errors import InputError

    for path, digest in (digests or {}).items():
        if not path.is_file() or sha256(path) != digest:
            raise InputError(
                "this worker has not the same model under this path", where=path,
                hint="a folder that all workers share",
            )  # fmt: skip
    return open_model(file, **where)


def _unpaired(output, model, folders, *, detail, said, scale, limit, tile, jobs, cluster, **where) -> None:
    """`--niqe`: one table a folder."""
    from snpe_srgan.console import table
    from snpe_srgan.metrics.no_reference import evaluate_without_reference
    from snpe_srgan.runtimes.source import settled

    results = []
    with contextlib.ExitStack() as stack:
        many = stack.enter_context(workers_for(jobs, cluster, output))
        session, processes = None, Processes(many or 1, _reopened)
        if model != "bicubic":
            file = find_model(model, detail, runs=True, said=said, output=output)
            if many or where["on"] == "emulator":
                file = settled(file)  # once, not in each process
            processes = _processes(many, file, where)
            session = stack.enter_context(open_model(file, **where, say=output.say))
            scale = session.scale
            for remark in session.description.remarks:
                output.warn(remark)
        for folder in folders:
            with track(output.say, f"evaluating {folder}", unit="picture") as progress:
                results.append(
                    evaluate_without_reference(
                        session, folder, scale=scale, limit=limit, tile=tile, progress=progress.to,
                        processes=processes,
                    )
                )  # fmt: skip
            if results[-1].passed_over:
                output.note(results[-1].passed_over)
    lines = []
    for r in results:
        rows = [[p.name, f"{p.niqe.model:.3f}", f"{p.niqe.bicubic:.3f}", f"{p.seconds:.2f}"] for p in r.pictures]
        rows.append([f"mean of {len(r.pictures)}", f"{r.mean.model:.3f}", f"{r.mean.bicubic:.3f}", ""])
        lines += [table([r.dataset, "NIQE", "bicubic", "seconds"], rows), f"{r.engine}, x{r.scale}", ""]
    output.result({"model": model, "datasets": results}, text=[*lines, results[0].protocol])


def _session_for(model: str, detail, said, where: dict, output):
    """The model's session with its remarks said; for bicubic a context that holds None."""
    if model == "bicubic":
        return contextlib.nullcontext()
    file = find_model(model, detail, runs=True, said=said, output=output)
    session = open_model(file, **where, say=output.say)
    for remark in session.description.remarks:
        output.warn(remark)
    return session


def _distance(name, weights, heads):
    from snpe_srgan.errors import UsageError

    if weights and not name:
        raise UsageError("--perceptual-weights goes with --perceptual")
    if heads and name != "lpips":
        raise UsageError("--lpips-heads goes with --perceptual lpips")
    if not name:
        return None
    from snpe_srgan.metrics.perceptual import load_distance

    return load_distance(name, weights=weights, heads=heads)


def _savers(folder, sets, overwrite) -> list[Saver | None]:
    """One a data set; every name is checked before any work."""
    from snpe_srgan.artifacts.staging import recover
    from snpe_srgan.errors import UsageError

    if not folder:
        return [None] * len(sets)
    recover(folder)  # pictures of a killed evaluation lie in the folders below
    names = [data.name.casefold() for data in sets]
    twice = next((data.name for data in sets if names.count(data.name.casefold()) > 1), None)
    if twice:
        raise UsageError(f"two data sets are called '{twice}': their pictures would get the same names",
                         hint="evaluate them one after the other, into different folders")  # fmt: skip
    return [Saver(folder, data, overwrite) for data in sets]


class Saver:
    """Writes the model's pictures to `DIR/<dataset>/<name>.png`; names that exist are refused before any work."""

    def __init__(self, folder: str, data, overwrite: bool):
        from pathlib import Path

        from snpe_srgan.artifacts.files import refuse_overwrite

        self.folder, self.overwrite = Path(folder) / data.name, overwrite
        for files in data.files:
            refuse_overwrite(self.folder / f"{files.name}.png", overwrite)

    def __call__(self, name, rgb, grey) -> None:
        from snpe_srgan.imaging.pictures import Picture, write_picture

        write_picture(self.folder / f"{name}.png", Picture(rgb, grey=grey), overwrite=self.overwrite)


def _text(results) -> list[str]:
    from snpe_srgan.console import table

    lines = []
    for r in results:
        rows = [[p.name, *_cells(p.score, p.bicubic), *_looks(p.perceptual), f"{p.seconds:.2f}"] for p in r.pictures]
        means = _looks(r.perceptual.mean) if r.perceptual else []
        rows.append([f"mean of {len(r.pictures)}", *_cells(r.mean, r.bicubic), *means, ""])
        looks = ["distance", "bicubic"] if r.perceptual else []
        header = [r.dataset, "PSNR", "SSIM", "bicubic", "SSIM", "gain", *looks, "seconds"]
        lines += [table(header, rows), f"{r.engine}, x{r.scale}, {r.origin}", ""]
    last = results[0]
    return [*lines, last.protocol, *([f"distance: {last.perceptual.protocol}"] if last.perceptual else [])]


def _looks(distances) -> list[str]:
    return [f"{distances.model:.4f}", f"{distances.bicubic:.4f}"] if distances else []


def _cells(score, bicubic) -> list[str]:
    return [
        f"{score.psnr:.2f}", f"{score.ssim:.4f}", f"{bicubic.psnr:.2f}", f"{bicubic.ssim:.4f}",
        "0.00" if score.psnr == bicubic.psnr else f"{score.psnr - bicubic.psnr:+.2f}",
    ]  # fmt: skip
