"""`.pb` and `.onnx` files from strangers: refused before a native library gets them, or read in a child process."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import TINY, random_weights
from onnx import TensorProto, helper

from snpe_srgan.artifacts.card import Card, write_card
from snpe_srgan.confined.process import Child
from snpe_srgan.errors import InputError, MissingToolError
from snpe_srgan.models.frozen_graph import check_frozen_graph
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.onnx_graphs.model import read_onnx
from snpe_srgan.runtimes.open import open_session
from snpe_srgan.runtimes.source import load_source
from snpe_srgan.zoo.named import WEIGHTS
from snpe_srgan.zoo.resolve import resolve

HERE = f"{__name__}:"
FLOAT, INT32 = 1, 3


# ---- GraphDefs by hand, without TensorFlow ----


def field(number: int, value: bytes | int) -> bytes:
    def varint(n: int) -> bytes:
        n %= 1 << 64
        out = bytearray()
        while n > 127:
            out.append(n & 127 | 128)
            n >>= 7
        return bytes([*out, n])

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def shape(*sizes: int) -> bytes:
    return b"".join(field(2, field(1, size)) for size in sizes)


def node(name: str, operator: str, *inputs: str, **attributes: bytes) -> bytes:
    texts = field(1, name.encode()) + field(2, operator.encode()) + b"".join(field(3, i.encode()) for i in inputs)
    maps = (field(5, field(1, key.encode()) + field(2, value)) for key, value in attributes.items())
    return field(1, texts + b"".join(maps))


def constant(name: str, dtype: int = FLOAT, kind: int = FLOAT, sizes=(2,), content: bytes = bytes(8)) -> bytes:
    tensor = field(1, kind) + field(2, shape(*sizes)) + field(4, content)
    return node(name, "Const", dtype=field(6, dtype), value=field(8, tensor))


PICTURE = node("lr", "Placeholder", dtype=field(6, FLOAT), shape=field(7, shape(1, -1, -1, 3)))


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (PICTURE + node("a", "Add", "lr", "b") + node("b", "Relu", "a"), "circle"),
        (PICTURE + node("a", "Add", "lr", "a:0"), "circle"),
        (PICTURE + node("a", "Relu", "nobody"), "which the graph lacks"),
        (PICTURE + node("lr", "Relu", "lr"), "one name"),
        (node("lr", "NextIteration", "lr"), "is a loop"),
        (PICTURE + node("a", "While", "lr"), "is a loop"),
        (PICTURE + node("a", "PartitionedCall", "lr"), "is a loop"),
        (PICTURE + node("a", "ReadFile", "lr"), "reaches outside"),
        (PICTURE + node("a", "PyFunc", "lr"), "reaches outside"),
        (PICTURE + constant("c", dtype=INT32), "another type than it says"),
        (PICTURE + constant("c", dtype=0, kind=0), "of a type that no network has"),
        (PICTURE + constant("c", sizes=(1 << 20, 1 << 20)), "where its shape asks for"),
        (PICTURE + constant("c", sizes=(1 << 20, 1 << 20), content=b""), "not in the file"),
        (PICTURE + constant("c", sizes=(-1,)), "impossible shape"),
        (PICTURE + node("c", "Const", dtype=field(6, FLOAT)), "without a value"),
        (PICTURE + node("c", "Const", dtype=field(6, FLOAT), value=b"\x42\x7f"), "cut short"),
        (PICTURE + node("c", "Relu", "lr", T=b"\x30"), "cut short"),
        (PICTURE + node("v", "VarHandleOp"), "is a variable"),
        (PICTURE + node("a\x1b[2J", "Relu", "lr"), "cannot be printed"),
        (field(1, 1) + field(2, PICTURE), "not a frozen TensorFlow graph"),
        (b"", "no nodes"),
    ],
)
def test_a_graph_that_no_reader_is_to_see_is_refused_by_name(tmp_path, graph, words):
    (tmp_path / "a.pb").write_bytes(graph)
    with pytest.raises(InputError, match=words) as caught:
        check_frozen_graph(tmp_path / "a.pb")
    assert len(caught.value.lines()) <= 3
    assert_error(snpe_srgan("run", tmp_path / "a.pb", "x.png"), 1)


def test_a_chain_of_a_hundred_thousand_nodes_is_refused_at_once(tmp_path):
    chain = [node(f"n{i}", "Relu", f"n{i - 1}" if i else "lr") for i in range(100_000)]
    (tmp_path / "a.pb").write_bytes(PICTURE + b"".join(chain))
    with pytest.raises(InputError, match="more than 20000 nodes"):
        check_frozen_graph(tmp_path / "a.pb")
    model = tiny()
    model.graph.node.extend(helper.make_node("Relu", ["lr"], [f"n{i}"]) for i in range(100_000))
    with pytest.raises(InputError, match="more than 20000"):
        read_onnx(saved(model, tmp_path))


# ---- ONNX ----


def tiny() -> onnx.ModelProto:
    graph = describe("mobile", TINY["mobile"], scale=4)
    return to_onnx(graph, random_weights(graph, np.random.default_rng(0)))


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "a.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def weights(model: onnx.ModelProto, **fields) -> None:
    tensor = model.graph.initializer[0]
    for name, value in fields.items():
        if name == "dims":
            del tensor.dims[:]
            tensor.dims.extend(value)
        else:
            setattr(tensor, name, value)


def external(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def circle(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = model.graph.node[1].output[0]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda m: weights(m, raw_data=b"abc"), "where their shape asks for"),
        (lambda m: weights(m, dims=(1 << 40,)), "where their shape asks for"),
        (lambda m: weights(m, dims=(-1,)), "impossible shape"),
        (lambda m: weights(m, data_type=8, dims=(1 << 40,)), "not in the file"),
        (external, "lie in another file"),
        (circle, "not a valid ONNX model"),
        (lambda m: setattr(m.opset_import[0], "version", 10**12), "operator set"),
        (lambda m: setattr(m.graph.node[0], "domain", "evil"), "evil.Transpose is not known"),
    ],
)
def test_an_onnx_model_that_no_engine_is_to_see_is_refused(tmp_path, damage, words):
    model = tiny()
    damage(model)
    with pytest.raises(InputError, match=words):
        read_onnx(saved(model, tmp_path))


@pytest.mark.parametrize("kind", ["npz", "onnx", "dlc", "pb"])
def test_a_card_is_no_way_around_the_child(tmp_path, monkeypatch, kind):
    """Anyone can write a card with the right SHA-256. Only what lies in the package is opened in this process."""
    monkeypatch.setattr("snpe_srgan.runtimes.confined.ConfinedSession", lambda file, **_: f"child for {file.path.name}")
    path = tmp_path / f"a.{kind}"
    path.write_bytes(resolve("mobile").path.read_bytes())
    write_card(path, Card(artifact="", kind=kind, network="mobile", scale=4))
    assert resolve(path).card.sha256 and open_session(resolve(path)) == f"child for a.{kind}"
    (tmp_path / "weights").symlink_to(WEIGHTS)
    assert open_session(resolve(tmp_path / "weights" / "mobile.npz")) == "child for mobile.npz"
    assert resolve("mobile").shipped and not resolve("mobile", kinds=("npz",)).path.is_symlink()


def test_bytes_that_a_child_survived_are_not_tried_again(tmp_path, monkeypatch):
    path, started = saved(tiny(), tmp_path), []
    monkeypatch.setattr("snpe_srgan.onnx_graphs.model._survived", set())
    child = Child.__init__
    monkeypatch.setattr(Child, "__init__", lambda *a, **k: (started.append(1), child(*a, **k))[1])
    write_card(path, Card(artifact="", kind="onnx", network="mobile", scale=4))
    for _ in range(2):
        load_source(resolve(path))
    assert started == [1]
    model = tiny()
    model.producer_name = "others"
    load_source(resolve(saved(model, tmp_path)))
    assert started == [1, 1]


def test_properties_that_are_no_text_are_told(tmp_path):
    data = tiny().SerializeToString() + field(14, field(1, b"key\xff") + field(2, b"\xff\xfe"))
    (tmp_path / "a.onnx").write_bytes(data)
    assert_error(snpe_srgan("inspect", tmp_path / "a.onnx", "--json"), 1, "onnx")


# ---- the child ----


def crash(state, *, number: int):
    os.kill(os.getpid(), number)


def hang(state):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def grow(state):
    kept = []
    while True:
        kept.append(np.ones(1 << 20))


def fail(state):
    raise KeyError("x")


def lack(state):
    raise MissingToolError("no tool", hint="pip install it")


def add(state, *arrays, by: float):
    state["calls"] = state.get("calls", 0) + 1
    return {"calls": state["calls"]}, [array + np.float32(by) for array in arrays]


@pytest.fixture
def child(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with Child(where="a.pb", megabytes=400) as made:
        yield made


def test_arrays_go_there_and_come_back_and_the_child_remembers(child):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for calls in (1, 2):
        told, (result,) = child.call(f"{HERE}add", {"by": 0.5}, [array], doing="add")
        assert told == {"calls": calls}
        np.testing.assert_array_equal(result, array + np.float32(0.5))


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        ("crash", {"number": signal.SIGSEGV}, r"crashed \(SIGSEGV\)"),
        ("crash", {"number": signal.SIGABRT}, r"crashed \(SIGABRT\)"),
        ("grow", {}, "more memory than 400 MB"),
        ("hang", {}, "takes more than 2 s"),
        ("fail", {}, "KeyError"),
    ],
)
def test_whatever_a_library_does_there_is_one_error_here(child, function, arguments, words):
    with pytest.raises(InputError, match=f"cannot read it: .*{words}") as caught:
        child.call(f"{HERE}{function}", arguments, doing="read it", seconds=2 if function == "hang" else 60)
    assert caught.value.where == "a.pb" and child._process.poll() is not None


def test_errors_of_ours_keep_their_kind_and_hint(child):
    with pytest.raises(MissingToolError, match="no tool") as caught:
        child.call(f"{HERE}lack", {}, doing="read it")
    assert caught.value.hint == "pip install it" and caught.value.exit_code == 3


def test_an_interrupt_ends_native_work_at_once(child):
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        child.call(f"{HERE}hang", {}, doing="read it")
    assert child._process.poll() == -signal.SIGKILL


# ---- files of other kinds ----


def test_weights_and_saved_models_are_named_for_what_they_are(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "real.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    assert_error(snpe_srgan("import", tmp_path / "real.pth", "-o", tmp_path / "x.npz"), 1, "PyTorch")
    assert_error(snpe_srgan("run", tmp_path / "real.pth", "x.png"), 1, "PyTorch weight file", "snpe-srgan import")
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(field(1, 1) + field(2, PICTURE))
    for model in (folder, folder / "saved_model.pb"):
        assert_error(snpe_srgan("convert", model, "--onnx-only", "-o", tmp_path), 1, "SavedModel", "snpe-srgan import")
        assert_error(snpe_srgan("run", model, "x.png"), 1)
