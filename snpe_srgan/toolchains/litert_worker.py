"""The child process in which LiteRT's NPU compiler runs; the parent side is `litert.py`.

Reads one JSON request on standard input, writes a line of JSON for each chip and one at the end on what was its
standard output. What the compiler prints goes to standard error.

    python -m snpe_srgan.toolchains.litert_worker      # started by litert.compile_models, not by hand
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
import types
from pathlib import Path

SDK = "ai_edge_litert_sdk_qualcomm"  # the package that LiteRT asks for Qualcomm's libraries
LPAI = "libQnnLpai.so"  # a library the compiler loads by name and never uses for the HTP
LOG = re.compile(r"See (\S+\.error) for details")


def provide_libraries(folder: Path) -> str:
    """Where Qualcomm's libraries are: LiteRT's own package where it is installed, else the onnxruntime-qnn wheel.

    The wheel lacks libQnnLpai.so, which the compiler only loads and asks for its interface: a link of that name to the
    wheel's libQnnSaver.so in `folder` does.
    """
    import importlib.util

    if importlib.util.find_spec(SDK) is not None:
        return SDK
    import onnxruntime_qnn

    wheel = Path(onnxruntime_qnn.get_qnn_htp_path()).parent
    (folder / LPAI).symlink_to(wheel / "libQnnSaver.so")
    module = types.ModuleType(SDK)
    module.path_to_sdk_libs = lambda: f"{folder}{os.pathsep}{wheel}"  # type: ignore[attr-defined]
    sys.modules[SDK] = module
    return "onnxruntime-qnn"


class Compiler:
    """Compiles one model for one chip after the other, and keeps the results for the AI pack."""

    def __init__(self, request: dict, folder: Path):
        self.libraries = provide_libraries(folder)
        from ai_edge_litert.aot import aot_compile
        from ai_edge_litert.aot.core import aot_types
        from ai_edge_litert.aot.vendors import fallback_backend
        from ai_edge_litert.aot.vendors.qualcomm import target

        self.request, self.folder = request, folder
        self.compile, self.targets, self.fallback = aot_compile.aot_compile, target, fallback_backend.FallbackTarget
        self.result = aot_types.CompilationResult()

    def chip(self, name: str, model: str, out: str) -> dict:
        """Compiles `model` for a chip and writes the file `out`; what was compiled, or why nothing was.

        Args:
            name: the chip as LiteRT's `SocModel` spells it ('SM8650').
            model: path of a .tflite.
            out: path of the .tflite to write; nothing is written when the compiler refuses the model.

        Returns:
            Plain data for the reply: `chip` and either `error` (at most 600 characters) or the numbers `offloaded`
            (operators that run on the NPU), `operators` (all) and `partitions` (compiled pieces).
        """
        target = self.targets.Target(self.targets.SocModel(name))
        try:
            made = self.compile(model, output_dir=str(self.folder / name), target=[target], keep_going=False)
        except ValueError as error:
            return {"chip": name, "error": _reason(str(error))}
        backend, compiled = made.models_with_backend[0]
        compiled.save(out, export_only=True)
        stats = compiled.partition_stats.subgraph_stats
        self.result.models_with_backend.append((backend, compiled))
        return {
            "chip": name,
            "offloaded": sum(s.num_ops_offloaded for s in stats),
            "operators": sum(s.num_total_ops for s in stats),
            "partitions": sum(s.num_partitions_offloaded for s in stats),
        }

    def pack(self, model: str, folder: str, name: str, model_name: str) -> dict:
        """Writes the Google Play AI pack of all that was compiled, and the plain model for other phones.

        Args:
            model: path of the .tflite that was compiled; what phones without an NPU of the list get.
            folder: path of the folder to fill.
            name: of the AI pack.
            model_name: what an app calls the model in it.

        Returns:
            `packed`: the files of the pack, as paths inside `folder`.
        """
        from ai_edge_litert.aot.ai_pack import export_lib

        plain = self.compile(model, output_dir=str(self.folder / "fallback"), target=[self.fallback()])
        self.result.models_with_backend.extend(plain.models_with_backend)
        export_lib.export(self.result, folder, name, model_name)
        return {"packed": sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())}


def _reason(message: str) -> str:
    """The last lines of the log that a failed compilation points to."""
    found = LOG.search(message)
    if found is None or not Path(found[1]).is_file():
        return message[:600]
    lines = [line.strip() for line in Path(found[1]).read_text("utf-8", "replace").splitlines() if line.strip()]
    told = [line for line in lines if "ERROR" in line.upper() or "fail" in line.lower()] or lines
    return "; ".join(dict.fromkeys(told[-4:]))[:600]


def main() -> None:
    """Answers one request and ends.

    The request holds `model` (path), `chips` (a list of `name` and `out`) and, for an AI pack, `pack` (`folder`,
    `name`, `model_name`). Each chip is answered by a line as soon as it is done; the last line holds `done`,
    `libraries` (the package that Qualcomm's libraries came from) and `packed`.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the compiler prints must not mix with the replies
    request = json.loads(sys.stdin.readline())
    with tempfile.TemporaryDirectory(prefix="snpe-srgan-litert-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        tempfile.tempdir = scratch  # the compiler leaves its logs in the folder for temporary files
        compiler = Compiler(request, folder)
        for chip in request["chips"]:
            reply = compiler.chip(chip["name"], request["model"], chip["out"])
            print(json.dumps(reply), file=replies, flush=True)
        done: dict = {"done": True, "libraries": compiler.libraries}
        if request.get("pack"):
            done.update(compiler.pack(request["model"], **request["pack"]))
        print(json.dumps(done), file=replies, flush=True)


if __name__ == "__main__":
    main()
