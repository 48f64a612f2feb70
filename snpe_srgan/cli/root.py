"""`snpe-srgan VERB ...`: finds the verb's file, runs it, and turns its outcome into an exit code.

Verbs are imported only when they are typed, so `snpe-srgan --help` answers at once and never loads TensorFlow.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator

import click

from snpe_srgan import __version__
from snpe_srgan.artifacts.inputs import watched
from snpe_srgan.console import Output, fail, say
from snpe_srgan.errors import Finding, Remark, SnpeSrganError, cannot_load, nearest, one_line
from snpe_srgan.machine import nearly_full
from snpe_srgan.opener import os_error
from snpe_srgan.streams import Lines, guarded_streams

MORE_MEMORY = "  try: raise the limit (ulimit -v), or smaller tiles (--tile)"
AGAIN = "  try: again with -v for the traceback"

# Group -> verb -> (module, what `--help` says). The text stands here so that the list of verbs needs no import.
GROUPS = {
    "Start": {
        "run": ("run", "Enlarge pictures and videos."),
        "compare": ("compare", "Compare pictures or networks under a slider, in one .html file."),
        "inspect": ("inspect", "Show what is inside a .npz, .pb, .onnx, .dlc or .tflite file."),
        "doctor": ("doctor", "Show what this machine can do, and what to install for the rest."),
    },
    "Train": {
        "pipeline": ("pipeline", "Run all stages of a config, resumable: photos -> network -> .dlc -> report."),
        "config": ("config", "Check a config and show all of it; print the JSON Schema for editors."),
        "data": ("data", "Download DIV2K, decode pictures once, make the sample set."),
        "train": ("train", "Train a network: pixel stage, then adversarial stage."),
        "watch": ("watch", "Show a training's curves and pictures in the browser while it runs."),
        "evaluate": ("evaluate", "Measure PSNR and SSIM of a model against bicubic."),
        "import": ("import_", "Bring foreign weights and graphs into this project's form."),
    },
    "Deploy": {
        "freeze": ("freeze", "Freeze a run or .npz to a TensorFlow .pb with fixed node names."),
        "compress": ("compress", "Make a trained network smaller, fine-tune it, and report what it saved."),
        "convert": ("convert", "Convert a model to .onnx and a Qualcomm .dlc."),
        "quantize": ("quantize", "Quantize a model to .onnx and .dlc, with a report."),
        "deploy": ("deploy", "Make a bundle for a phone: .tflite with NPU code, .onnx, .dlc, tile plan, proof."),
    },
    "Look": {
        "benchmark": ("benchmark", "Measure size, time and memory of models, engine by engine."),
        "completion": ("completion", "Print the completion of verbs and options for bash, zsh or fish."),
        "plan": ("plan", "Estimate which network, precision and tile meets a frame rate on a chip."),
        "devices": ("devices", "List the known Snapdragon chips, with DSP version and SoC id."),
    },
}
VERBS = {verb: entry for group in GROUPS.values() for verb, entry in group.items()}

EXAMPLES = """\
snpe-srgan run photo.jpg                                    # photo_x4.png, by the network that ships in the package
snpe-srgan compare mobile mobile-gan --picture photo.jpg    # two networks under a slider, in the browser
snpe-srgan pipeline -c configs/smoke.yaml                   # the whole way: train, quantize, run, report
snpe-srgan deploy mobile -o bundle                          # what an app on a phone needs
"""


class LazyVerbs(click.Group):
    """A group whose commands are imported when they are used; a misspelt one is answered with the nearest."""

    def list_commands(self, ctx):
        return list(VERBS)

    def get_command(self, ctx, name):
        if name not in VERBS:
            return None
        module = importlib.import_module(f"snpe_srgan.cli.{VERBS[name][0]}")
        return module.command

    def resolve_command(self, ctx, args):
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            match = nearest(args[0], VERBS)
            ctx.fail(f"no such command '{args[0]}'" + (f"; did you mean '{match}'?" if match else ""))
        return super().resolve_command(ctx, args)

    def format_help(self, ctx, formatter):
        """Examples come first: they are what most people look for."""
        self.format_usage(ctx, formatter)
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line}\n" for line in EXAMPLES.splitlines()))
        self.format_help_text(ctx, formatter)
        self.format_options(ctx, formatter)

    def format_commands(self, ctx, formatter):
        for group, verbs in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(name, text) for name, (_, text) in verbs.items()])

    def shell_complete(self, ctx, incomplete):
        """Verbs by their list, so that completing one imports none."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=text) for name, (_, text) in VERBS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(
    cls=LazyVerbs,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100},
)
@click.version_option(__version__, prog_name="snpe-srgan")
def cli():
    """Train super-resolution networks, compress and quantize them, and put them on Snapdragon chips as .dlc files.

    MODEL is always a name (`inspect --models` lists them), a run folder, or a .npz, .pb, .onnx or .dlc file.
    """


def main(argv: list[str] | None = None) -> None:
    """The console script. Exit codes: 0 done, 1 expected failure, 2 usage, 3 missing tool, 130 interrupted (143 by
    SIGTERM, 129 when the terminal was closed)."""
    with guarded_streams():
        _main(sys.argv[1:] if argv is None else list(argv))


def _main(arguments: list[str]) -> None:
    output = Output(as_json="--json" in arguments, verbose="-v" in arguments or "--verbose" in arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up chatter is not ours to show
    ended: list[int] = []
    try:
        with signals_as_interrupts(ended), watched(), remarks_on(output):
            if question := os.environ.pop("_SNPE_SRGAN_COMPLETE", ""):
                from snpe_srgan.cli.completion import answer

                print(answer(cli, question), flush=True)
                return
            cli.main(args=arguments, prog_name="snpe-srgan", standalone_mode=False)
    except click.exceptions.Abort:
        fail(output, 128 + (ended or [signal.SIGINT])[0], ["interrupted"])
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            say(Lines(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n"))
        fail(output, error.exit_code, [one_line(error.format_message())], error)
    except click.exceptions.Exit as error:
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        fail(output, 128 + (ended or [signal.SIGINT])[0], ["interrupted"])
    except SnpeSrganError as error:
        fail(output, error.exit_code, error.lines(), error)
    except BrokenPipeError:  # the reader of our output has left (`| head`): nobody to say it to
        raise SystemExit(1) from None
    except OSError as error:
        # Names too long, loops of links, a current folder that was removed: a path may meet them in any call.
        nowhere = "the current folder, which is gone" if error.errno == errno.ENOENT else None
        fail(output, 1, os_error(error, error.filename or nowhere, "go on").lines(), error)
    except ImportError as error:
        known = cannot_load(error)
        lines = [f"ImportError: {error}", AGAIN] if known is None else known.lines()
        fail(output, 1 if known is None else known.exit_code, lines, error)
    except MemoryError as error:
        fail(output, 1, ["out of memory", "  try: smaller tiles (--tile), a smaller batch, or fewer pictures"], error)
    except Exception as error:
        # An unforeseen failure is a defect of ours: still no traceback in a user's face, but the way to get one.
        what = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        lines = [f"most likely, memory ran out: {what}", MORE_MEMORY] if nearly_full() else [what, AGAIN]
        fail(output, 1, lines, error)
    raise SystemExit(0)


@contextlib.contextmanager
def remarks_on(output: Output) -> Iterator[None]:
    """What our own modules warn of is a remark of the command, said once; other libraries' warnings go their way."""
    before, said = warnings.showwarning, set()

    def show(message, category, *where):
        if not issubclass(category, Remark):
            before(message, category, *where)
        elif str(message) not in said:
            said.add(str(message))
            (output.note if issubclass(category, Finding) else output.warn)(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always", Remark)
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def signals_as_interrupts(ended: list[int]) -> Iterator[None]:
    """SIGTERM and a closed terminal end a command as Ctrl-C does, so that a tool it has started (in a process group of
    its own), half-written files and folders on a phone do not stay behind. What was ignored (`nohup`) stays ignored.
    """

    def interrupt(number, frame):
        ended.append(number)
        raise KeyboardInterrupt

    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # no SIGHUP on Windows
    main_thread = threading.current_thread() is threading.main_thread()
    changed = [number for number in wanted if main_thread and signal.getsignal(number) == signal.SIG_DFL]
    for number in changed:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)
