"""Damaged networks of other frameworks: PyTorch's weights, .tflite files, ready-compiled ONNX files."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from helpers_fuzz import Kind, injure_bytes, injure_json, injure_protobuf
from helpers_fuzz_verbs import network, photo, verb

SIZE = (16, 16)


# PyTorch's weights


def make_pth(folder: Path) -> list[bytes]:
    """Two archives of `torch.save`, and one in its older format."""
    from helpers_torch import write_pth
    from helpers_torch_networks import checkpoint

    made = []
    for name in ("srvgg", "rrdb"):
        arrays, _ = checkpoint(name, np.random.default_rng(0))
        made.append(write_pth(folder / f"{name}.pth", {"params_ema": arrays}).read_bytes())
    return [*made, _legacy(made[0])]


def _legacy(archive: bytes) -> bytes:
    """The same tensors as PyTorch wrote them before 1.6: five pickles in a row, then the storages."""
    import pickle

    from snpe_srgan.zoo.torch_files import MAGIC

    with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
        program = zipped.read("archive/data.pkl")
        keys = sorted(name.rpartition("/")[2] for name in zipped.namelist() if "/data/" in name)
        stored = [zipped.read(f"archive/data/{key}") for key in keys]
    head = pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    body = b"".join(struct.pack("<q", len(data) // 4) + data for data in stored)
    return head + program + pickle.dumps(keys, 2) + body


def injure_pth(data: bytes, rng: np.random.Generator) -> bytes:
    """The file's first bytes and the archive's list, or the pickle inside a whole archive."""
    if data[:2] != b"PK" or rng.integers(0, 3) == 0:
        at = int(rng.choice([0, max(0, len(data) - 2048)]))
        return data[:at] + injure_bytes(data[at : at + 4096], rng) + data[at + 4096 :]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    names = list(members)
    name = "archive/data.pkl" if rng.integers(0, 4) else names[rng.integers(0, len(names))]
    members[name] = injure_bytes(members[name], rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED if rng.integers(0, 4) else zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def make_safetensors(folder: Path) -> list[bytes]:
    from helpers_torch_networks import checkpoint

    arrays, _ = checkpoint("srvgg", np.random.default_rng(0))
    body, header = b"", {"__metadata__": {"format": "pt"}}
    for name, array in arrays.items():
        place = [len(body), len(body) + array.nbytes]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": place}
        body += array.tobytes()
    return [_safetensors(json.dumps(header).encode(), body)]


def _safetensors(header: bytes, body: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def injure_safetensors(data: bytes, rng: np.random.Generator) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    if rng.integers(0, 3) == 0:
        return injure_bytes(data[: 8 + length], rng) + data[8 + length :]
    return _safetensors(json.dumps(injure_json(json.loads(data[8 : 8 + length]), rng)).encode(), data[8 + length :])


def read_weights(path: Path) -> None:
    verb("import", path, "-o", path.with_suffix(".out.npz"), "--overwrite")


# .tflite: read by LiteRT


def _quantized(folder: Path):
    """The QDQ model of fixed size of a small network."""
    from snpe_srgan.models.npz import save_npz
    from snpe_srgan.onnx_graphs.model import fix_size
    from snpe_srgan.quantization.recipe import parse_recipe
    from snpe_srgan.quantization.session import Source
    from snpe_srgan.zoo.resolve import resolve

    path = save_npz(folder / "generator.npz", *network("mobile"), overwrite=True)
    source = Source(resolve(path), ("synthetic",), lr=False, count=2, minutes=1, say=lambda text: None)
    return fix_size(source.make(parse_recipe("w8a8-plain")).plan.quantized(), SIZE)


def make_tflite(folder: Path) -> list[bytes]:
    from snpe_srgan.deploy.make_tflite import make_tflite as make

    return list(make(_quantized(folder), metadata={"scale": 4, "receptive_radius": 7}).values())


def injure_tflite(data: bytes, rng: np.random.Generator) -> bytes:
    """Mostly the tables: what lies between are weights."""
    at = int(rng.integers(0, max(1, len(data) - 512))) if rng.integers(0, 3) else 0
    return data[:at] + injure_bytes(data[at : at + 1024], rng) + data[at + 1024 :]


def read_tflite(path: Path) -> None:
    verb("inspect", path, "--json")
    verb("run", path, photo(path.parent), "-o", path.with_suffix(".png"), "--overwrite")


# _ctx.onnx: compiled code in an ONNX file


def make_context(folder: Path) -> list[bytes]:
    """Compiled code where the compiler is installed, and a file that has its form and other bytes in it."""
    from snpe_srgan.tflite.context import Port, wrap
    from snpe_srgan.toolchains import qnn

    ends = {"inputs": [Port("lr", (1, *SIZE, 3), "float32")], "outputs": [Port("sr", (1, 64, 64, 3), "float32")]}
    code = b"v2.51.0.260929120000" + bytes(64) + b"soc_type=SM8650;arch=75;" + bytes(range(256))
    made = [wrap(code, name="g", **ends), _outside(code, ends)]
    if qnn.available() is None:
        from snpe_srgan.deploy.ep_context import compile_onnx
        from snpe_srgan.toolchains import socs

        (folder / "fixed.onnx").write_bytes(_quantized(folder).SerializeToString())
        metadata = {"receptive_radius": "7"}
        compiled = compile_onnx(folder / "fixed.onnx", folder / "ctx.onnx", [socs.find("SM8650")], metadata=metadata)
        made.append(compiled.path.read_bytes())
    return made


def _outside(code: bytes, ends: dict) -> bytes:
    """A file that says that its code lies in another file: any that its author likes."""
    import onnx
    from onnx import helper

    from snpe_srgan.tflite.context import wrap

    model = onnx.load_model_from_string(wrap(code, name="g", **ends))
    kept = [a for a in model.graph.node[0].attribute if a.name not in ("embed_mode", "ep_cache_context")]
    del model.graph.node[0].attribute[:]
    added = (("embed_mode", 0), ("ep_cache_context", "../../../../etc/passwd"))
    model.graph.node[0].attribute.extend([*kept, *(helper.make_attribute(*pair) for pair in added)])
    return model.SerializeToString()


def read_context(path: Path) -> None:
    """Every 16th is run on the emulator too, whose start takes a second each time."""
    from snpe_srgan.toolchains import qnn

    verb("inspect", path, "--json")
    on = ("--on", "emulator") if zlib.crc32(path.read_bytes()) % 16 == 0 and qnn.available() is None else ()
    verb("run", path, photo(path.parent), "-o", path.with_suffix(".png"), "--overwrite", *on)


def warm_litert() -> None:
    from snpe_srgan.cli import inspect, run  # noqa: F401
    from snpe_srgan.tflite.schema import available, schema

    if available():
        schema()


GRAPHS = (
    Kind("pth", ".pth", make_pth, injure_pth, read_weights),
    Kind("safetensors", ".safetensors", make_safetensors, injure_safetensors, read_weights),
    Kind("tflite", ".tflite", make_tflite, injure_tflite, read_tflite, seconds=200, native=True, warm=warm_litert),
    Kind("ctx_onnx", "_ctx.onnx", make_context, injure_protobuf, read_context, seconds=200, native=True),
)
