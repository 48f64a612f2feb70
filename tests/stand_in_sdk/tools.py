"""The stand-in tools: `main("snpe-net-run", (2, 10), argv)` is what the program of that name does.

Light until the arguments are right; the heavy packages are imported by `work`.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
from pathlib import Path

import arguments
from arguments import die

DIAGVIEW = """Interpreting file serialized with Flatbuffer
Log File Created: Thu May 25 10:39:50 2023
Time Scale: 1e-06
Software library version: {version}

Dnn Runtime Load/Deserialize/Create/De-Init Statistics:
--------------------------------------------------
Load: 149 us
Deserialize: 15997 us
Create: 28905 us

Init: 48856 us
De-Init: 6699 us

Create Network(s): 25547 us
RPC Init Time: 0 NONE

Average SNPE Statistics:
------------------------------
Total Inference Time: {total} us
Forward Propagate Time: {forward} us
RPC Execute Time: 0 us
Snpe Accelerator Time: 0 us
Accelerator Time: 0 us
Misc Accelerator Time: 0 us

Layer Times:
---------------
{layers}
"""
# Made up, one for each unit: what a test can recognise, not what anything takes.
MICROSECONDS = {"cpu": 40000, "gpu": 20000, "dsp": 5000, "aip": 6000}


def main(tool: str, version: tuple[int, ...], argv: list[str]) -> int:
    handlers = {
        "snpe-tensorflow-to-dlc": convert, "snpe-onnx-to-dlc": convert, "qairt-converter": convert,
        "snpe-dlc-quantize": quantize, "snpe-dlc-quant": quantize, "qairt-quantizer": quantize,
        "snpe-dlc-graph-prepare": prepare, "snpe-dlc-info": info, "snpe-net-run": net_run,
        "snpe-throughput-net-run": throughput, "snpe-diagview": diagview,
    }  # fmt: skip
    if os.environ.get("STAND_IN_SILENT_FAILURE") == tool:  # "returns 0 and failed"
        print("[INFO] InitializeStderr: DebugLog initialized.")
        return 0
    return handlers[tool](tool, version, argv) or 0


def heavy():
    """The module that does the work, with the packages that it needs: the tools start without them (-S)."""
    import site

    site.main()
    import work

    return work


def error(text: str) -> int:
    """A converter's way to fail: a stamped line, then its traceback."""
    stamp = datetime.datetime(2024, 10, 13, 16, 56, 14).strftime("%Y-%m-%d %H:%M:%S,218")
    print(f"{stamp} - 230 - ERROR - Encountered Error: {text}\n", file=sys.stderr)
    print("Traceback (most recent call last):\n  File \"/opt/sdk/lib/python/converters/main.py\", line 52, in main\n"
          "    converter.convert()", file=sys.stderr)  # fmt: skip
    return 1


def convert(tool: str, version: tuple[int, ...], argv: list[str]) -> int:
    merged = tool == "qairt-converter"
    found = arguments.qairt_converter(argv) if merged else arguments.converter(tool, version, argv)
    path = Path(found.network)
    if not path.is_file():
        return error(f"[Errno 2] No such file or directory: '{path}'")
    if merged and path.suffix == ".pb" and not (found.dims and found.outputs):
        return error("--source_model_input_shape and --out_tensor_node are required for TensorFlow")
    work = heavy()

    try:
        model = work.read_network(path, found.dims, found.outputs, layouts=found.layouts)
        out = Path(found.out) if found.out else path.with_suffix(".dlc")
        work.write_float(model, out, overrides=found.overrides)
    except work.Refused as refused:
        return error(str(refused))
    name = "INFO_WRITE_SUCCESS" if version >= (2, 0) else "INFO_DLC_SAVE_LOCATION"
    print("2024-10-13 16:56:14,218 - 214 - INFO - INFO_CONVERSION_SUCCESS: Conversion completed successfully",
          file=sys.stderr)  # fmt: skip
    print(f"2024-10-13 16:56:14,219 - 214 - INFO - {name}: {out}", file=sys.stderr)
    return 0


def quantize(tool: str, version: tuple[int, ...], argv: list[str]) -> int:
    if tool == "qairt-quantizer":
        found = arguments.qairt_quantizer(argv)
    else:
        found = arguments.quantizer(tool, version, argv)
    source, listed = Path(found["input_dlc"][0]), Path(found["input_list"][0])
    for path in (source, listed):
        if not path.is_file():
            die(f"[ERROR] Unable to open file: {path}")
    if listed.read_text().startswith(("#", "%")):
        die("[ERROR] The input list of a quantizer names no outputs")
    work = heavy()

    def bits(name: str) -> int:
        return int(found.get(name, ["8"])[0])

    try:
        out = Path(found.get("output_dlc", [source.with_name(f"{source.stem}_quantized.dlc")])[0])
        work.write_quantized(
            source, work.listed(listed), out, weights=bits("weights_bitwidth"), activations=bits("act_bitwidth"),
            algorithms=found.get("algorithms", []), overrides="override_params" in found,
            per_channel=bool({"axis_quant", "use_per_channel_quantization"} & set(found)),
        )  # fmt: skip
    except work.Refused as refused:
        die(f"[ERROR] {refused}")
    print(f"[INFO] Writing quantized model to: {out}\n[INFO] DebugLog shutting down.")
    return 0


def prepare(tool: str, version: tuple[int, ...], argv: list[str]) -> int:
    valued = {"--input_dlc", "--output_dlc", "--htp_socs", "--vtcm_override", "--optimization_level",
              "--set_output_tensors"}  # fmt: skip
    found = arguments.getopt(tool, argv, valued, {"--overwrite_cache_records"}, {"--input_dlc"})
    source = Path(found["input_dlc"][0])
    if not source.is_file():
        die(f"[ERROR] Unable to open file: {source}")
    chips = found.get("htp_socs", ["sm8650"])[0].split(",")
    for chip in chips:
        if chip not in ("sm8350", "sm8450", "sm8550", "sm8650", "qcs6490", "qcs8550"):
            die(f"[ERROR] Invalid SoC specified: {chip}")
    work = heavy()

    try:
        work.add_caches(source, Path(found["output_dlc"][0]), chips)
    except work.Refused as refused:
        die(f"[ERROR] {refused}")
    print("[INFO] SNPE HTP Offline Prepare: Done creating QNN HTP graph cache.")
    return 0


def info(tool: str, version: tuple[int, ...], argv: list[str]) -> int:
    found = arguments.getopt(tool, argv, {"-i", "-s"}, set(), {"-i"})
    work = heavy()

    rows = work.layers(Path(found["i"][0]))
    print(f"DLC info for: {found['i'][0]}\nModel Version: N/A\nModel Copyright:N/A")
    print("| Id  | Name | Type | Inputs | Outputs | Out Dims | Runtimes | Parameters |")
    for index, (name, kind, inputs, outputs, dims) in enumerate(rows):
        print(f"| {index} | {name} | {kind} | {inputs} | {outputs} | {dims} | A D G C | |")
    return 0


def net_run(tool: str, version: tuple[int, ...], argv: list[str]) -> int:
    found = arguments.net_run(version, argv)
    if "version" in found:
        print("SNPE v" + ".".join(map(str, version)))
        return 0
    container, listed = Path(found["container"][0]), Path(found["input_list"][0])
    runtime = next((name for name in ("gpu", "dsp", "aip") if f"use_{name}" in found), "cpu")
    on_phone = check_phone(runtime, version)
    if not listed.is_file():
        die(f"ERROR: Failed to open input list {listed}")
    if not container.is_file():
        die(f"error_code=300; error_message=Could not open DLC file. {container}")
    work = heavy()

    try:
        output = Path(found.get("output_dir", ["./output"])[0])
        layers = work.run(
            container, work.listed(listed), output, native="use_native_input_files" in found,
            quantized_only=runtime in ("dsp", "aip") and version >= (2, 0),
        )  # fmt: skip
    except work.Refused as refused:
        die(str(refused))
    level = found.get("profiling_level", ["detailed" if version >= (2, 0) else "basic"])[0]
    if level != "off":
        total = MICROSECONDS[runtime] * (1 if on_phone else 3)
        log = {"version": version, "total": total, "layers": layers, "runtime": runtime, "level": level}
        (output / "SNPEDiag_0.log").write_text(json.dumps(log))
    print("Processing DNN input(s):")
    return 0


def check_phone(runtime: str, version: tuple[int, ...]) -> bool:
    """On the stand-in phone: are its libraries where the environment says, and has it this runtime?"""
    if "STAND_IN_PHONE" not in os.environ:
        return False
    phone = json.loads(Path(os.environ["STAND_IN_PHONE"], "state.json").read_text())
    libraries = Path(os.environ.get("LD_LIBRARY_PATH", "nowhere"))
    if not (libraries / "libSNPE.so").is_file():
        die('CANNOT LINK EXECUTABLE "snpe-net-run": library "libSNPE.so" not found: needed by main executable')
    if runtime not in phone["runtimes"]:
        die(
            "The selected runtime is not available on this platform. Continue anyway to observe the failure at network "
            "creation time.\nerror_code=500; error_message=Target runtime is not available. error_component=System; "
            "line_no=1"
        )
    if runtime in ("dsp", "aip"):
        skeletons = Path(os.environ.get("ADSP_LIBRARY_PATH", "nowhere").split(";")[0])
        wanted = "*_skel.so" if version < (2, 0) else f"libSnpeHtpV{phone['hexagon']}Skel.so"
        if not list(skeletons.glob(wanted)):
            die(
                "ERROR: Please use testsig if using unsigned images.\nERROR: Also make sure ADSP_LIBRARY_PATH points "
                "to directory containing skels."
            )
    return True


def throughput(tool: str, version: tuple[int, ...], argv: list[str]) -> int:
    found = arguments.throughput(argv)
    runtime = next(name for name in MICROSECONDS if f"use_{name}" in found)
    check_phone(runtime, version)
    if not Path(found["container"][0]).is_file():
        die(f"error_code=300; error_message=Could not open DLC file. {found['container'][0]}")
    seconds, rate = float(found["duration"][0]), 1e6 / MICROSECONDS[runtime]
    print(f"[Thread 0 - {runtime}_fixed8_tf] {rate:.2f} infs/sec - Number of images processed: {int(rate * seconds)} - "
          f"Build time: 657077 microseconds - Elapsed time: {int(seconds * 1e6)} microseconds - Batch : 1")  # fmt: skip
    print(f"Total throughput: {rate:.2f} infs/sec     ", flush=True)
    os.kill(os.getpid(), 11)  # seen of the real one: it crashes when all is said


def diagview(tool: str, version: tuple[int, ...], argv: list[str]) -> int:
    found = arguments.getopt(tool, argv, {"--input_log", "--output"}, set(), {"--input_log"})
    path = Path(found["input_log"][0])
    if not path.is_file():
        die(f"ERROR: Unable to open log file {path}")
    log = json.loads(path.read_text())
    count = len(log["layers"]) if log["level"] == "detailed" else 0
    unit = log["runtime"].upper()
    layers = [f"{i}: {log['total'] // max(count, 1)} us : {unit}" for i in range(count)]
    version_text = ".".join(map(str, log["version"]))
    print(
        DIAGVIEW.format(version=version_text, total=log["total"], forward=log["total"] - 10, layers="\n".join(layers))
    )
    return 0
