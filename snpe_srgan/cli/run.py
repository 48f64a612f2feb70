"""snpe-srgan run photo.jpg                                     # photo_x4.png, by the network that ships in the package
snpe-srgan run srgan photo.jpg -o sharp.png
snpe-srgan run runs/mobile photos/ -o enlarged/
snpe-srgan run mobile photos/ -o enlarged/ --cluster local:4   # four processes; also SLURM and Dask's schedulers
snpe-srgan run mobile photo.jpg --detail 0.5 -o half.png       # between mobile and mobile-gan
snpe-srgan run generator_w8a8.dlc photo.jpg --on emulator -o proof.png
snpe-srgan run generator_w8a8.dlc photo.jpg --on device --runtime dsp -o phone.png
"""

from __future__ import annotations

import glob

import click

from snpe_srgan.cli.cluster import cluster_options
from snpe_srgan.cli.detail import detail_option, find_model
from snpe_srgan.cli.ends import ends_options
from snpe_srgan.cli.options import Size, Verb, common, output_option, overwrite_option
from snpe_srgan.cli.sessions import model_of, open_model, session_options
from snpe_srgan.cli.video import video_options
from snpe_srgan.progress import track

LONG = 20.0  # seconds of computing, after which what is faster is worth a line


@click.command(cls=Verb)
@click.argument("typed", metavar="[MODEL] PICTURE...", nargs=-1, required=True)
@output_option("A picture file, or a folder for several; by default the current folder, for one picture.")
@detail_option
@session_options(by_picture=True)
@click.option("--tile", type=Size(), help="Cut pictures into tiles of this LR size; by default chosen by free memory.")
@ends_options
@click.option("--dry-run", is_flag=True, help="With --on sdk and device: print the exact commands, run nothing.")
@click.option(
    "--skip-existing", is_flag=True,
    help="Resume a folder: skip pictures and videos whose output already exists and is complete.",
)  # fmt: skip
@cluster_options
@video_options
@overwrite_option
@common
def command(
    typed, out, detail, tile, said, dry_run, skip_existing, mix, mix_above, cluster, results, video, overwrite, output,
    **where,
):
    """Enlarge pictures and videos.

    MODEL is a name (`snpe-srgan inspect --models` lists them), a run folder or a model file. Left out, it is 'mobile',
    which ships in the package. PICTURE is a file, a folder or a quoted glob.

    Any kind of picture is taken. Transparency, 16 bits, colour profiles, EXIF and resolution are kept if the output's
    format can hold them; a warning says what is lost. Pictures larger than the model's fixed input, or than memory
    allows, are cut into tiles that overlap enough to leave no seam. If one of several pictures fails, the others are
    still done, and the command names it and exits with 1.
    """
    import time

    from snpe_srgan.cli.cluster import refuse_cluster_options, run_on_cluster
    from snpe_srgan.cli.video import refuse_video_options
    from snpe_srgan.errors import UsageError
    from snpe_srgan.runtimes.enlarge import enlarge, find_pictures, plan_jobs
    from snpe_srgan.video.kinds import is_video
    from snpe_srgan.zoo.named import DEFAULT

    if dry_run and where["on"] not in ("sdk", "device"):
        raise UsageError("--dry-run prints the SDK's commands: it goes with --on sdk or --on device")
    start = time.perf_counter()
    model, pictures = split(typed)
    model, where["mix"] = model_of(model, mix, mix_above, detail)
    if not pictures:
        _refuse_no_picture(model)
    file = find_model(model or DEFAULT, detail, runs=True, said=said, output=output)
    if any(map(is_video, pictures)) and cluster is None:
        network = _network(file, where["mix"], default=model is None)
        _run_videos(file, pictures, network, out, tile, video, skip_existing, overwrite, output, where)
        return
    refuse_video_options(video)
    refuse_cluster_options(cluster, results, pictures, out)
    if cluster is not None:
        run_on_cluster(
            file, pictures, _network(file, None, default=model is None), cluster=cluster, results=results, out=out,
            tile=tile, where=where, skip_existing=skip_existing, overwrite=overwrite, output=output,
        )  # fmt: skip
        return
    found, passed_over = find_pictures(pictures)
    if passed_over:
        output.note(passed_over)
    network = _network(file, where["mix"], default=model is None)
    with open_model(file, **where, say=output.say, by_picture=True) as session:
        if dry_run:
            plan = session.commands()
            output.result({"dry_run": True, "commands": plan}, text=plan)
            return
        for remark in session.description.remarks:
            output.warn(remark)
        jobs = plan_jobs(found, out=out, scale=session.scale, overwrite=overwrite, skip_existing=skip_existing)
        output.note(_sentence(network))
        watch = Watch(output, jobs.todo)
        try:
            done, failed = enlarge(
                session,
                jobs.todo,
                tile=tile,
                overwrite=overwrite,
                started=watch.started,
                tiles_done=watch.tiles_done,
            )
        finally:
            watch.close()
        engine_name = session.description.computed_by
        scale = session.scale
        times, no_times = session.times, session.no_times
    head = {
        "model": file.path if detail is None else file.origin, "network": network,
        "engine": engine_name, "scale": scale, "seconds": time.perf_counter() - start,
    }  # fmt: skip
    no_times = f"no times were read: {no_times}" if no_times and times is None else None
    _offer_speed(output, file, engine_name, where["precision"], sum(item.inference_seconds for item in done))
    _finish(output, head, jobs, done, [*jobs.failed, *failed], remarks=(_damaged(done, file), no_times), times=times,
            passed_over=passed_over)  # fmt: skip


def _refuse_no_picture(model: str) -> None:
    from snpe_srgan.errors import UsageError
    from snpe_srgan.zoo.resolve import RUNNABLE, is_name, resolve

    if not is_name(model):
        resolve(model, kinds=RUNNABLE)  # a model that is not there is the first thing to say
    raise UsageError(f"PICTURE is missing: {model} is a model", hint=f"snpe-srgan run {model} photo.jpg")


def _offer_speed(output, file, engine: str, precision: str, seconds: float) -> None:
    """Says after long work what would have been faster on this machine; it is never done unasked."""
    eight_bits = file.card is not None and bool(file.card.quantization)
    if seconds < LONG or precision != "f32" or not engine.startswith("openvino") or eight_bits:
        return
    from snpe_srgan.runtimes.openvino import has_bf16

    eight = f"its 8-bit form (snpe-srgan quantize {file.path.name} --onnx-only)"
    both = f"--precision auto (bfloat16 for pictures on which it does not show), or {eight}" if has_bf16() else eight
    output.note(f"faster on this machine: {both}")


def _finish(output, head, jobs, done, failed, *, remarks, times, passed_over) -> None:
    """Says what was done: remarks on stderr, the result on stdout, then the errors; exit code 1 where there are any."""
    for item in done:
        for note in item.notes:
            output.warn(f"{item.target}: {note}")
    for remark in filter(None, remarks):
        output.warn(remark)
    lines = [_line(item) for item in done]
    if len(jobs) > 1 or failed or not done:
        there = f" ({len(jobs.skipped)} were there already)" if jobs.skipped else ""
        count = f"{len(done)} of {len(jobs)} pictures{there}, x{head['scale']}"
        lines.append(f"{count} by {head['engine']}, {head['seconds']:.1f} s in all")
    else:
        lines[-1] += f" by {head['engine']}"
    if times is not None:
        lines.append(f"  measured on the phone: {times.total_us / 1000:.2f} ms an inference, by SNPE's own log")
    pictures = {"pictures": done, "failed": failed, "skipped": jobs.skipped, "passed_over": passed_over, "times": times}
    output.result({**head, **pictures}, text=lines)
    if failed:
        for item in failed:
            output.error(item.error)
        raise SystemExit(1)


def _run_videos(file, sources, network, out, tile, video, skip_existing, overwrite, output, where) -> None:
    from snpe_srgan.artifacts.files import sha256
    from snpe_srgan.cli.video import run_to_stdout, run_videos
    from snpe_srgan.errors import UsageError
    from snpe_srgan.video.kinds import is_video, require_av

    others = [str(source) for source in sources if not is_video(source)]
    if others:
        raise UsageError(f"videos and pictures go in commands of their own: {others[0]} is no video")
    require_av()
    with open_model(file, **where, say=output.say) as session:
        for remark in session.description.remarks:
            output.warn(remark)
        output.note(_sentence(network))
        identity = {
            "model": sha256(file.path), "engine": session.description.computed_by, "ends": session.description.ends,
            **{name: where[name] for name in ("on", "precision", "chip", "runtime", "overlap")},
        }  # fmt: skip
        if (mix := where["mix"]) is not None:
            identity["mix"] = [sha256(mix.small.path), mix.above]
            if video["fps"] is not None:
                raise UsageError("--fps goes on with smaller networks: it does not go with --mix")
        if video["to_stdout"]:

            def open_named(name: str):
                opened = open_model(find_model(name, None), **where, say=output.say)
                return click.get_current_context().with_resource(opened)

            run_to_stdout(
                session, sources, name=str(network["name"]), open_named=open_named, out=out,
                parameters=network["parameters"], tile=tile, video=video, output=output,
            )  # fmt: skip
            return
        run_videos(
            session, sources, out=out, tile=tile, video=video, skip_existing=skip_existing, overwrite=overwrite,
            identity=identity, network=network, output=output,
        )  # fmt: skip


def split(typed: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """What was typed as MODEL, or None, and the pictures.

    The first word is MODEL when it is one: a name, a run folder, a file with a model's suffix. Of several words it is
    also MODEL when it can be no picture, so that a mistyped name is answered as one.
    """
    from pathlib import Path

    from snpe_srgan.errors import nearest
    from snpe_srgan.imaging.kinds import KNOWN_SUFFIXES
    from snpe_srgan.video.kinds import is_video
    from snpe_srgan.zoo.named import model_names
    from snpe_srgan.zoo.resolve import IMPORTED, RUNNABLE, is_name

    first, path, alone = typed[0], Path(typed[0]), len(typed) == 1
    suffix = path.suffix.lower()
    if path.is_dir():
        network = any((path / name).is_file() for name in ("generator.npz", "saved_model.pb"))
        is_model = network or (is_name(first) and not alone)
    elif is_name(first) or suffix.lstrip(".") in (*RUNNABLE, *IMPORTED):
        is_model = True
    elif suffix in KNOWN_SUFFIXES or glob.has_magic(first) or is_video(first):
        is_model = False
    elif alone:  # a picture, whatever its suffix, but not a mistyped name
        is_model = not suffix and not path.exists() and nearest(first, model_names()) is not None
    else:
        is_model = True
    return (first, typed[1:]) if is_model else (None, typed)


PHOTO = "mobile-photo"


def _damaged(done, file) -> str | None:
    """One remark on pictures that a network for damaged ones would suit better; nothing is switched."""
    from snpe_srgan.zoo.named import shipped_models

    hurt = [item for item in done if item.damage]
    training = {} if file.card is None else file.card.training
    if not hurt or "degradation" in training or PHOTO not in shipped_models():
        return None
    first = f"{hurt[0].source} shows {hurt[0].damage}"
    return (f"{first}; {len(hurt)} of {len(done)} pictures are damaged" if len(hurt) > 1 else first) + (
        f": {PHOTO} is made for such pictures, and this network makes damage plainer"
    )


def _network(file, mix, *, default: bool) -> dict[str, object]:
    """Which network it is, for people and for --json; parameters are None for a file without a card, and `mix` is what
    makes the tiles that are not hard."""
    return {
        "mix": None if mix is None else {"small": mix.small.stem, "above": mix.above},
        "name": file.stem if file.origin else file.path.name,
        "parameters": None if file.card is None else file.card.parameters,
        "origin": file.origin or str(file.path.parent),
        "default": default,
    }


def _sentence(network) -> str:
    parameters = f"{network['parameters']:,} parameters, " if network["parameters"] else ""
    default = " (the default: no MODEL was named)" if network["default"] else ""
    if mix := network["mix"]:
        default = f", for tiles of more than {mix['above']:g} levels; {mix['small']} for the others"
    return f"network: {network['name']}, {parameters}{network['origin']}{default}"


def _line(item) -> str:
    (lh, lw), (sh, sw) = item.lr_size, item.sr_size
    tiles = f", {item.tiles} tiles" if item.tiles > 1 else ""
    chosen = f" ({item.arithmetic})" if item.arithmetic else ""
    return f"{item.target}  {lh}x{lw} -> {sh}x{sw}  {item.seconds:.2f} s{tiles}{chosen}"


class Watch:
    """Progress on stderr: over the pictures where there are several, over the tiles of one."""

    def __init__(self, output, jobs):
        self.output, self.count, self.name, self.tiles, self.pictures = output, 0, "", None, None
        if len(jobs) > 1:
            self.pictures = track(output.say, "enlarging", total=len(jobs), unit="picture")

    def started(self, job) -> None:
        """A picture begins: the bar over pictures moves on and shows its name."""
        self._end_tiles()
        self.name = str(job.source)
        if self.pictures is not None:
            self.pictures.to(self.count, note=self.name)
        self.count += 1

    def tiles_done(self, done: int, total: int) -> None:
        """So many of the picture's tiles are done; a picture of one tile has no bar of its own."""
        if total < 2:
            return
        if self.tiles is None:
            self.tiles = track(self.output.say, self.name, total=total, unit="tile")
        self.tiles.to(done)

    def _end_tiles(self) -> None:
        if self.tiles is not None:
            self.tiles.close()
        self.tiles = None

    def close(self) -> None:
        """Ends the bars."""
        self._end_tiles()
        if self.pictures is not None:
            self.pictures.close()
