"""What the stand-in tools do for real: read networks, write, quantize and run `.dlc` files, with this project's parts.

A float .dlc carries the network it was made from as an extra record, which the stand-in quantizer reads back: the real
one has no need of that.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

RECORD = "stand_in.network"


class Refused(Exception):
    """What a real tool would have said."""


def read_network(path: Path, dims, outputs, *, layouts):
    """The network at the asked size, as ONNX; refuses what the real converters refuse."""
    from snpe_srgan.onnx_graphs.model import fix_size, ports, read_onnx

    if path.suffix == ".pb":
        model = _tensorflow(path, dims, outputs)
    else:
        model = read_onnx(path)
    lr, sr = ports(model, where=path)
    sizes, name = dict(dims or []), lr.name.removesuffix(":0")
    if set(sizes) - {name}:
        raise Refused(f"Input tensor {sorted(sizes)[0]} not found in the graph")
    shape = [int(n) for n in sizes[name].split(",")] if sizes else [d.dim_value for d in lr.type.tensor_type.shape.dim]
    if len(shape) != 4 or 0 in shape:
        raise Refused(f"Dimension mismatch: input '{lr.name}' has unknown dimensions {shape}")
    fixed = [d.dim_value for d in lr.type.tensor_type.shape.dim]
    if any(have and have != want for have, want in zip(fixed, shape, strict=True)):
        raise Refused(f"Dimension mismatch: the network's input '{lr.name}' is {fixed}, not {shape}")
    if path.suffix == ".onnx" and [name, "NHWC"] not in (layouts or []) and shape[1] != 3:
        raise Refused(f"Dimension mismatch: Conv expects 3 channels (NCHW), got {shape[1]}")
    for name in outputs or []:
        if name.removesuffix(":0") != sr.name.removesuffix(":0"):
            raise Refused(f"Output node {name} not found in the graph")
    return fix_size(model, tuple(shape[1:3]), where=path)


def _tensorflow(path: Path, dims, outputs):
    from snpe_srgan.models.freeze import read_graph_def
    from snpe_srgan.onnx_graphs.from_tensorflow import graph_def_to_onnx

    graph = read_graph_def(path)
    names = {node.name for node in graph.node}
    for name in [dims[0][0], outputs[0]]:
        if name not in names:
            raise Refused(f"Node {name} not found in the graph")
    model = graph_def_to_onnx(graph, input_name=dims[0][0], output_name=outputs[0], where=path)
    _rename(model, dims[0][0], f"{dims[0][0]}:0")  # TensorFlow names end in ":0" in the .dlc
    _rename(model, outputs[0], f"{outputs[0]}:0")
    model.graph.input[0].name, model.graph.output[0].name = f"{dims[0][0]}:0", f"{outputs[0]}:0"
    return model


def _rename(model, old: str, new: str) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new


def write_float(model, out: Path, *, overrides: str | None) -> None:
    if overrides and not Path(overrides).is_file():
        raise Refused(f"[Errno 2] No such file or directory: '{overrides}'")
    _write(model, out)
    carried = {"overrides": json.loads(Path(overrides).read_text()) if overrides else None}
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(RECORD, json.dumps(carried))
        archive.writestr(RECORD + ".onnx", model.SerializeToString())


def _write(model, out: Path) -> None:
    from snpe_srgan.errors import SnpeSrganError
    from snpe_srgan.toolchains import qnn

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(model.SerializeToString())
        try:
            qnn.write_dlc(path, out, overwrite=True)
        except SnpeSrganError as error:
            raise Refused(f"Op validation failed: {error.what}") from error


def _carried(dlc: Path):
    """(ONNX model, encodings or None) of a float .dlc of ours."""
    import onnx

    from snpe_srgan.dlc.container import Container

    container = Container(dlc)
    if RECORD not in container.names:
        raise Refused("Model is already quantized or was not written by this converter")
    network = onnx.load_model_from_string(bytes(container.read(RECORD + ".onnx")))
    return network, json.loads(bytes(container.read(RECORD)))["overrides"]


def listed(path: Path) -> list[Path]:
    """The raw files of an input list with one input."""
    lines = [line.strip() for line in path.read_text().splitlines() if line.strip() and line[0] not in "#%"]
    root = str(Path(os.environ["STAND_IN_PHONE"], "files")) if "STAND_IN_PHONE" in os.environ else ""
    return [Path(root + line.rpartition(":=")[2]) for line in lines]


def _read_raw(path: Path, shape, dtype: str) -> np.ndarray:
    if not path.is_file():
        raise Refused(f"ERROR: Failed to open input file {path}")
    data = path.read_bytes()
    wanted = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if len(data) != wanted:
        raise Refused(
            f"ERROR: Size of input does not match network. Expecting: {wanted} Got: {len(data)} for dimension "
            f"{'x'.join(map(str, shape))}"
        )
    return np.frombuffer(data, dtype).reshape(shape)


def write_quantized(source: Path, raws, out: Path, *, weights, activations, algorithms, overrides, per_channel) -> None:
    from dataclasses import replace

    from snpe_srgan.calibration.crops import Crops
    from snpe_srgan.onnx_graphs.model import fix_size
    from snpe_srgan.onnx_graphs.run import free_size
    from snpe_srgan.quantization.graph.encodings import Encoding
    from snpe_srgan.quantization.recipe import parse_recipe
    from snpe_srgan.quantization.steps.run import make_plan

    if not raws:
        raise Refused("The input list names no files")
    model, carried = _carried(source)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    crops = Crops(tuple(_read_raw(path, shape, "<f4") for path in raws[:4]), "raws")
    steps = ["minmax", *algorithms, "perchannel" if per_channel else "pertensor"]
    recipe = parse_recipe("-".join([f"w{weights}a{activations}", *steps]))
    scale = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value // shape[1]
    plan = make_plan(free_size(model), recipe, scale=scale, crops=crops).plan
    if overrides and carried:
        chosen = {
            name: Encoding(e["bitwidth"], e["scale"], -e["offset"])
            for name, (e, *_) in carried["activation_encodings"].items()
        }
        scales = {}
        for node in plan.model.graph.node:
            if node.op_type == "Conv":
                entries = carried["param_encodings"][node.input[1]]
                scales[node.name or node.output[0]] = np.array([e["scale"] for e in entries], np.float32)
        plan = replace(plan, encodings={**plan.encodings, **chosen}, scales={**plan.scales, **scales})
    _write(fix_size(plan.quantized(), tuple(shape[1:3])), out)


def add_caches(source: Path, out: Path, chips: list[str]) -> None:
    from snpe_srgan.dlc.reader import read

    if not any(t.quantized for t in read(source).graphs[0].tensors.values()):
        raise Refused("Graph preparation requires a quantized model")
    out.write_bytes(source.read_bytes())
    with zipfile.ZipFile(out, "a") as archive:
        for chip in chips:
            archive.writestr(f"htp.cache.{chip}", io.BytesIO(b"stand-in").read())


def layers(dlc: Path):
    from snpe_srgan.dlc.reader import read

    graph = read(dlc).graphs[0]
    for node in graph.nodes:
        dims = "x".join(map(str, graph.tensors[node.outputs[0]].dims))
        yield node.name, node.type, node.inputs[0], node.outputs[0], dims


def run(dlc: Path, raws: list[Path], output: Path, *, native: bool, quantized_only: bool) -> list[str]:
    """Result_N/<tensor>.raw for each line; the names of the layers."""
    from snpe_srgan.dlc.reader import read
    from snpe_srgan.dlc.to_onnx import rebuild
    from snpe_srgan.errors import SnpeSrganError
    from snpe_srgan.onnx_graphs.run import runner

    try:
        found = read(dlc)
    except SnpeSrganError as error:
        raise Refused("error_code=311; error_message=Model record failed. Incomplete DLC is missing mandatory record: "
                      "model") from error  # fmt: skip
    graph = found.graphs[0]
    if quantized_only and not any(t.quantized for t in graph.tensors.values()):
        raise Refused(
            "error_code=910; error_message=Model is not quantized: the DSP runtime requires a quantized model"
        )
    (lr,), (sr,) = graph.of_role("input"), graph.of_role("output")
    execute = runner(rebuild(found))
    for index, path in enumerate(raws):
        value = _read_raw(path, lr.dims, "u1" if native else "<f4")
        if native:
            value = (value.astype(np.float32) + np.float32(lr.encoding.offset[0])) * np.float32(lr.encoding.scale[0])
        result = execute(value)
        if native:
            result = np.clip(np.rint(result / sr.encoding.scale[0]) - sr.encoding.offset[0], 0, 255).astype("u1")
        folder = output / f"Result_{index}"
        folder.mkdir(parents=True, exist_ok=True)
        result.tofile(folder / f"{sr.name}.raw")
    return [node.name for node in graph.nodes]
