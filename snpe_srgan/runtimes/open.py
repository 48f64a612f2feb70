"""Opens a model file on an engine.

    with open_session(resolve("generator.npz")) as session: sr = session.run(lr)
    with open_session(resolve("generator_w8a8.dlc"), on="emulator") as session: sr = session.run(lr)

On the host that is OpenVINO where it is installed, else ONNX Runtime; TensorFlow only when asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from snpe_srgan.confined.worker import inside
from snpe_srgan.errors import InputError, UsageError, did_you_mean
from snpe_srgan.machine import installed, require
from snpe_srgan.runtimes.adapted import in_our_numbers
from snpe_srgan.runtimes.session import Session
from snpe_srgan.runtimes.source import load_source
from snpe_srgan.tflite import schema as litert
from snpe_srgan.toolchains.socs import DEFAULT
from snpe_srgan.zoo.resolve import ModelFile

PLACES = ("host", "emulator", "sdk", "device")
ENGINES = ("auto", "openvino", "onnxruntime")
LITERT = "litert"  # of .tflite files, which no other engine reads
AUTO_PRECISION = "auto"
PRECISIONS = ("f32", "bf16", AUTO_PRECISION)
DEVICE_RUNTIME, SDK_RUNTIME = "dsp", "cpu"


def open_session(
    file: ModelFile,
    *,
    on: str = "host",
    engine: str = "auto",
    threads: int | None = None,
    precision: str = "f32",
    chip: int | str = DEFAULT,
    sdk_folder: str | None = None,
    runtime: str | None = None,
    serial: str | None = None,
    perf_profile: str | None = None,
    raw: str = "float32",
    say: Callable[[str], None] | None = None,
) -> Session:
    """Opens `file`; what it lacks is a `MissingToolError`, never replaced by another place to run.

    A file that did not come with the package runs on the host in a child process (`runtimes/confined.py`).

    Args:
        on: `host` (this machine's CPU), `emulator` (the Hexagon emulator of onnxruntime-qnn), `sdk` (the SDK's
            snpe-net-run here) or `device` (the same on a phone).
        engine: the host engine: `auto`, `openvino`, `onnxruntime`, or `tensorflow` for a `.pb`.
        threads: of the host engine; None for all processors this process may use.
        precision: `f32`; `bf16` (OpenVINO only); `auto`: bf16 for the 8-bit pictures on which a probe shows at most one
            level of difference (`runtimes/probed.py`), where the CPU has it.
        chip: for the emulator: the chip it computes as (float graphs in float16, from Hexagon v73 on); 'none' computes
            float graphs in true float32.
        sdk_folder: for the SDK and the phone; None for the one that the environment names.
        runtime: the chip's unit, one of `commands.RUNTIMES`; None for DEVICE_RUNTIME or SDK_RUNTIME.
        serial: which phone; None for the only one, or that of $ANDROID_SERIAL.
        perf_profile: how fast a phone is to run; None leaves it to the tool.
        raw: `float32` or `uint8` files, for the SDK and the phone.
        say: told what takes long.

    Returns:
        A session, to be closed: a context manager. It takes float32 (1, h, w, 3) in [0, 1] and gives (1, h * scale, w *
        scale, 3) in [-1, 1].

    Raises:
        UsageError: options that do not go together, or not with this kind of file.
        MissingToolError: the engine, the SDK, or the phone is not there.
        InputError: the file is no whole super-resolution model, or the engine refuses it.
    """
    for value, known, option in ((on, PLACES, "--on"), (engine, (*ENGINES, "tensorflow", LITERT), "--engine")):
        if value not in known:
            raise UsageError(f"unknown {option} '{value}'", hint=did_you_mean(value, known))
    if on in ("sdk", "device"):
        if file.kind == "tflite":
            raise UsageError(f"--on {on} runs .dlc files by snpe-net-run, not a .tflite", where=file.path)
        return _open_net_run(file, on, sdk_folder, runtime, serial, perf_profile, raw)
    if on == "emulator":
        if engine != "auto" or precision != "f32":
            raise UsageError("--engine and --precision choose the host's arithmetic: leave them out with --on emulator")
        if file.kind == "tflite":
            from snpe_srgan.runtimes.litert import CompiledSession

            return CompiledSession(file.path)
        from snpe_srgan.runtimes.emulator import EmulatorEngineSession

        return EmulatorEngineSession(load_source(file), chip=None if chip == "none" else chip)
    engine = _host_engine(file, engine=engine, precision=precision)
    if precision == AUTO_PRECISION:
        return _open_auto(file, engine=engine, threads=threads, say=say)
    return _open_on_host(file, engine=engine, threads=threads, precision=precision, say=say)


def _open_auto(file: ModelFile, *, engine: str, threads: int | None, say: Callable[[str], None] | None) -> Session:
    """Float32, and bfloat16 beside it where this machine has it."""
    from snpe_srgan.runtimes import openvino
    from snpe_srgan.runtimes.probed import ProbedSession

    exact = _open_on_host(file, engine=engine, threads=threads, precision="f32", say=say)
    if engine == "openvino" and openvino.has_bf16():
        try:
            fast = _open_on_host(file, engine=engine, threads=threads, precision="bf16", say=say)
        except BaseException:
            exact.close()
            raise
        return ProbedSession(exact, fast)
    why = "this CPU has no bfloat16" if engine == "openvino" else "bfloat16 needs OpenVINO (pip install openvino)"
    remarks = (*exact.description.remarks, f"--precision auto is float32 here: {why}")
    exact.description = replace(exact.description, remarks=remarks)
    return exact


def _open_on_host(
    file: ModelFile, *, engine: str, threads: int | None, precision: str, say: Callable[[str], None] | None
) -> Session:
    if not (inside() or file.shipped):
        from snpe_srgan.runtimes.confined import ConfinedSession

        return ConfinedSession(file, engine=engine, threads=threads, precision=precision, say=say)
    return open_engine(file, engine=engine, threads=threads, precision=precision)


def _open_net_run(file: ModelFile, on: str, sdk_folder, runtime, serial, perf_profile, raw) -> Session:
    from snpe_srgan.runtimes.net_run import DeviceSession, SdkSession
    from snpe_srgan.toolchains.snpe.sdk import find_sdk

    sdk = find_sdk(sdk_folder)
    if on == "sdk":
        return SdkSession(file, sdk=sdk, runtime=runtime or SDK_RUNTIME, perf_profile=perf_profile, raw=raw)
    from snpe_srgan.toolchains.snpe.adb import choose_phone
    from snpe_srgan.toolchains.snpe.device import Device

    device = Device(sdk, choose_phone(serial), runtime=runtime or DEVICE_RUNTIME)
    return DeviceSession(file, device=device, perf_profile=perf_profile, raw=raw)


def _host_engine(file: ModelFile, *, engine: str, precision: str) -> str:
    """The engine's name; usage errors for what does not go together."""
    if precision not in PRECISIONS:
        raise UsageError(f"unknown --precision '{precision}'", hint=did_you_mean(precision, PRECISIONS))
    if file.kind == "tflite":
        if engine not in ("auto", LITERT) or precision != "f32":
            raise UsageError("a .tflite runs on LiteRT: leave out --engine and --precision", where=file.path)
        litert.require("running a .tflite")
        return LITERT
    typed = engine
    if engine == LITERT:
        raise UsageError(f"LiteRT runs .tflite files, not a .{file.kind}", where=file.path)
    if engine == "auto":
        engine = "openvino" if file.kind == "pb" or precision == "bf16" or installed("openvino") else "onnxruntime"
    if precision != "f32" and engine != "openvino" and (precision, typed) != (AUTO_PRECISION, "auto"):
        raise UsageError(f"--precision {precision} is for the engine openvino, not {engine}")
    if engine == "onnxruntime" and file.kind == "pb":
        raise UsageError("ONNX Runtime reads no .pb", where=file.path, hint="--engine openvino, or run the .onnx")
    require(engine, what="this engine" if file.kind != "pb" else "running a .pb on the host")
    return engine


def open_engine(file: ModelFile, *, engine: str, threads: int | None, precision: str) -> Session:
    """The model on a host engine in this process.

    Args:
        engine: `openvino`, `onnxruntime`, `tensorflow` or `litert`; `auto` is not resolved here.
        threads: None for all processors that this process may use.
        precision: `f32` or `bf16`; only OpenVINO looks at it.

    Raises:
        InputError: the file cannot be read, is compiled for an NPU, or the engine refuses it.
        MissingToolError: the engine is not installed.
    """
    if engine == LITERT:
        from snpe_srgan.runtimes.litert import LiteRtSession

        return LiteRtSession(file.path, threads=threads)
    source = load_source(file)
    if source.compiled:
        raise InputError(
            f"its graph is NPU code for {source.compiled}, which a CPU cannot run", where=file.path,
            hint="--on emulator",
        )  # fmt: skip
    if engine == "tensorflow":
        from snpe_srgan.runtimes.tensorflow import TensorFlowSession

        return in_our_numbers(TensorFlowSession(source, threads=threads), file)
    if engine == "openvino":
        from snpe_srgan.runtimes.openvino import OpenVinoSession

        session = OpenVinoSession(source, threads=threads, precision=precision)
        return in_our_numbers(session, file) if source.kind == "pb" else session
    from snpe_srgan.runtimes.onnxruntime import OnnxRuntimeSession

    return OnnxRuntimeSession(source, threads=threads)
