"""The part of `run` that is about videos.

snpe-srgan run clip.mp4 -o clip_x4.mp4                          # the sound and all else goes with it
snpe-srgan run mobile-gan clip.mkv --from 1:00 --to 1:05.5      # five and a half seconds of it
snpe-srgan run clip.mp4 -o clip_x4.mp4                          # killed, typed again: goes on
"""

from __future__ import annotations

from pathlib import Path

import click

from snpe_srgan.cli.options import Finite, Whole
from snpe_srgan.progress import track

OPTIONS = ("codec", "crf", "pix_fmt", "start", "end", "every", "segment", "restart", "to_stdout", "fps",
           "steady")


def video_options(function):
    """Adds what `run` takes for videos; the function receives it as `video`, a dict without what was left out."""
    options = [
        click.option("--codec", help="Videos: h264, h265, av1, vp9, ffv1 (lossless) or prores.  [default: h264; h265"
                     " for more than 8 bits, vp9 in .webm, prores or ffv1 for transparency]"),
        click.option("--crf", type=Whole(0, 63), help="Videos: quality, lower is better and larger."
                     "  [default: 18 for h264, 20 h265, 28 av1, 30 vp9]"),
        click.option("--pix-fmt", help="Videos: FFmpeg's name of a pixel format.  [default: the source's, or"
                     " the nearest that the codec has]"),
        click.option("--from", "start", metavar="TIME", help="Videos: the first frame, as 12.5, 1:02:03.5 or 300f (its"
                     " number).  [default: the first]"),
        click.option("--to", "end", metavar="TIME", help="Videos: the frame to stop before.  [default: none]"),
        click.option("--every", type=Whole(1, 100000), default=1, help="Videos: only every n-th frame."),
        click.option("--segment", type=Whole(1, 100000), default=48, help="Videos: frames per saved segment; "
                     "a killed run loses at most one segment, and the same command resumes there."),
        click.option("--steady", is_flag=True, help="Videos: average over time where nothing moves, against the flicker"
                     " of detail that a network draws; says how much there was."),
        click.option("--restart", is_flag=True, help="Videos: discard what a killed run finished, and start again."),
        click.option("--to-stdout", is_flag=True, help="Videos: frames as YUV4MPEG2 on standard output, for mpv or"
                     " ffmpeg; the input may be - for standard input."),
        click.option("--fps", type=Finite(0, 10000, min_open=True), help="With --to-stdout: frames a second"
                     " that the network must reach; else a smaller one takes over, or the run fails."),
    ]  # fmt: skip

    import functools

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        video = {name: kwargs.pop(name) for name in OPTIONS}
        return function(*args, video=video, **kwargs)

    for option in reversed(options):
        wrapper = option(wrapper)
    return wrapper


DEFAULTS = {"every": 1, "segment": 48, "restart": False, "steady": False, "to_stdout": False}


def refuse_video_options(video: dict) -> None:
    """Pictures: an option that says nothing about them is a mistake of the user's."""
    from snpe_srgan.errors import UsageError

    names = {"start": "--from", "end": "--to", "pix_fmt": "--pix-fmt", "to_stdout": "--to-stdout"}
    given = [names.get(k, f"--{k}") for k, v in video.items() if v != DEFAULTS.get(k)]
    if given:
        raise UsageError(f"{', '.join(given)} is for videos, and these are pictures")


def plan_targets(sources, out, scale: int) -> list[Path]:
    """Where each video goes: a file, or `<stem>_x4` in a folder, with its own suffix (.mkv for one not written).

    Args:
        sources: paths of the videos.
        out: -o as typed, a folder or a file; None: the current folder.
        scale: for the names.

    Raises:
        UsageError: several videos and no folder, or two that would get one name.
    """
    from snpe_srgan.errors import UsageError
    from snpe_srgan.video.kinds import OUTPUTS, output_format, output_suffix

    folder = Path("." if out is None else out)
    if out is not None and folder.suffix and not folder.is_dir():
        if len(sources) > 1 and folder.suffix.lower() in OUTPUTS:
            raise UsageError(f"{len(sources)} videos do not fit into one file", where=out, hint="-o FOLDER")
        if len(sources) == 1:
            output_format(folder)
            return [folder]
    if out is None and len(sources) > 1:
        raise UsageError(f"{len(sources)} videos need a folder to go to", hint="-o FOLDER")
    targets = [folder / f"{Path(s).stem}_x{scale}{output_suffix(Path(s))}" for s in sources]
    twice = next((t for t in targets if sum(t.name.casefold() == u.name.casefold() for u in targets) > 1), None)
    if twice is not None:
        raise UsageError(f"two videos would both become {twice}", hint="enlarge them into different folders")
    return targets


def run_videos(
    session, sources, *, out, tile, video: dict, skip_existing: bool, overwrite: bool, identity, network, output
) -> None:
    """Enlarges the videos one after the other, prints the result, and exits with 1 when one was not done whole.

    Args:
        session: enlarges their frames.
        sources: paths of the videos.
        out: -o as typed, a folder or a file; None: the current folder.
        tile: LR (height, width) of the tiles; None: chosen by the session.
        video: the options for videos by their parameters' names, as typed.
        skip_existing: whether videos whose result is there and whole are left out.
        overwrite: whether results may be written over.
        identity: what tells this network, engine and precision from others; an unfinished run of another is refused.
        network: the model's name in the result.

    Raises:
        UsageError: options that do not go together.
        MissingToolError: a package for videos is not installed.
        SnpeSrganError: the only video failed; of several the others go on.
        SystemExit: 1, after the result, where a video was not done whole.
    """
    from snpe_srgan.artifacts.staging import discard
    from snpe_srgan.errors import MissingToolError, SnpeSrganError, UsageError
    from snpe_srgan.video.enlarge import VideoOptions, enlarge_video, is_whole
    from snpe_srgan.video.kinds import STDIN

    if any(str(source) == STDIN for source in sources):
        hint = "--to-stdout | ffmpeg -i - out.mkv, or give the video as a file"
        raise UsageError("standard input goes to standard output: --to-stdout is missing", hint=hint)
    if video["fps"] is not None:
        raise UsageError("--fps goes with --to-stdout")
    options = VideoOptions(
        codec=video["codec"], crf=video["crf"], pix_fmt=video["pix_fmt"], selection=selection_of(video),
        tile=tile, steady=video["steady"], segment=video["segment"], restart=video["restart"], overwrite=overwrite,
    )  # fmt: skip
    done, errors, skipped = [], [], []
    segments: list[Path] = []  # of the only video: removed after the result is printed
    for source, target in zip(sources, plan_targets(sources, out, session.scale), strict=True):
        if skip_existing and is_whole(source, target, session.scale):
            skipped.append({"source": str(source), "target": str(target)})
            continue
        watch = track(output.say, str(source), unit="frame")
        try:
            item = enlarge_video(
                session, source, target, options, identity=identity, say=output.say, progress=watch.to,
                finished=segments.append if len(sources) == 1 else discard,
            )  # fmt: skip
        except (MissingToolError, UsageError):
            raise
        except SnpeSrganError as error:
            if len(sources) == 1:
                raise
            errors.append(error.lines())
            continue
        finally:
            watch.close()
        for note in item.notes:
            output.warn(f"{item.target}: {note}")
        done.append(item)
        if item.damage:
            kept = f"{item.frames} frames were read, enlarged and kept in {item.target}"
            errors.append([f"{item.damage[0]}"[:300], f"  at: {item.source}", f"  {kept}"])
    engine = session.description.computed_by
    lines = [line_of(item) for item in done]
    if lines:
        lines[-1] += f" by {engine}"
    if skipped:
        lines.append(f"{len(skipped)} of {len(sources)} were there already")
    result = {"network": network, "engine": engine, "scale": session.scale, "videos": done, "skipped": skipped,
              "failed": errors}  # fmt: skip
    output.result(result, text=lines)
    for folder in segments:
        discard(folder)
    for lines in errors:
        output.error(lines)
    if errors:
        raise SystemExit(1)


def selection_of(video: dict):
    """Which frames the options --from, --to and --every choose; `UsageError` for a place that is none."""
    from snpe_srgan.video.selection import Selection, parse_point

    start, end = (
        None if video[k] is None else parse_point(video[k], o) for k, o in (("start", "--from"), ("end", "--to"))
    )
    return Selection(start, end, video["every"])


def run_to_stdout(session, sources, *, name: str, open_named, parameters, out, tile, video: dict, output) -> None:
    """One video to standard output, remarks and figures to standard error.

    Args:
        open_named: opens a shipped network by its name, for as long as the command runs.
        parameters: of the network, None where they are not known.
    """
    import sys

    from snpe_srgan.errors import UsageError
    from snpe_srgan.video.kinds import STDIN
    from snpe_srgan.video.live import Network, run_live
    from snpe_srgan.zoo.named import list_named

    wrong = [f"--{n.replace('_', '-')}" for n in ("codec", "crf", "pix_fmt") if video[n] is not None]
    wrong += [*(["-o"] if out else []), *(["--json"] if output.as_json else []), *(["--restart"] * video["restart"])]
    if wrong:
        raise UsageError(f"{wrong[0]} does not go with --to-stdout, which writes raw frames there")
    if len(sources) > 1:
        raise UsageError("--to-stdout takes one video")
    if str(sources[0]) == STDIN and sys.stdin is not None and sys.stdin.isatty():
        raise UsageError("standard input is a terminal: no video comes from it")
    if sys.stdout.isatty():
        raise UsageError("standard output is a terminal: raw frames go to a file or another program", hint="| mpv -")
    left = [n for n in list_named() if n.available and n.parameters and "gan" not in n.name]
    left = sorted(left, key=lambda n: (-(n.parameters or 0), n.name))

    def smaller(network):
        size = next((n.parameters for n in list_named() if n.name == network.name), parameters)
        for named in left:
            if size is not None and named.parameters < size:
                session = open_named(named.name)
                if session.scale == network.session.scale:
                    return Network(named.name, session)
        return None

    sys.stdout.flush()
    with open(sys.stdout.fileno(), "wb", closefd=False) as pipe:
        done = run_live(
            Network(name, session), str(sources[0]), pipe, selection=selection_of(video), tile=tile,
            budget=video["fps"], steady=video["steady"], smaller=smaller, say=output.say, warn=output.warn,
        )  # fmt: skip
    for note in done.notes:
        output.warn(note)
    output.note(
        f"{done.frames} frames, {done.frame_rate:.2f} frames/s, by the network alone {done.network_rate:.2f}; latency "
        f"{done.latency * 1000:.0f} ms, at most {done.worst_latency * 1000:.0f} ms; {', then '.join(done.networks)}"
    )


def line_of(item) -> str:
    """What to print of a video that was enlarged."""
    (lh, lw), (sh, sw) = item.lr_size, item.sr_size
    resumed = f" ({item.resumed} of them earlier)" if item.resumed else ""
    copied = f", {item.streams_copied} streams copied" if item.streams_copied else ""
    still = f", {item.unchanged:.0%} of the tiles unchanged" if item.unchanged else ""
    if item.steadied is not None and item.steadied.network is not None:
        s = item.steadied
        still += f", flicker {s.network:.2f} -> {s.written:.2f} levels (source {s.source:.2f})"
    return (
        f"{item.target}  {lh}x{lw} -> {sh}x{sw}  {item.frames} frames{resumed}  {item.seconds:.1f} s, "
        f"{item.frame_rate:.2f} frames/s  {item.encoding}{copied}{still}"
    )
