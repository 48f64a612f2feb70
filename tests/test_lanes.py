"""The emulator's lanes: tiles side by side, each graph prepared once, tiles that waste least, the fixed size's bits."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from helpers_onnx import mobile, quantize, srgan

from snpe_srgan.errors import Remark, SnpeSrganError
from snpe_srgan.onnx_graphs.boundary import Said
from snpe_srgan.onnx_graphs.run import free_size
from snpe_srgan.runtimes import emulator, least_work
from snpe_srgan.runtimes.lanes import Lanes
from snpe_srgan.runtimes.least_work import Work
from snpe_srgan.runtimes.open import open_session
from snpe_srgan.runtimes.session import Description, Tiling
from snpe_srgan.runtimes.source import load_source
from snpe_srgan.runtimes.tiling import plan_tiling
from snpe_srgan.runtimes.upscale import upscale_pixels
from snpe_srgan.toolchains import qnn
from snpe_srgan.zoo.resolve import resolve

needs_qnn = pytest.mark.skipif(qnn.available() is not None, reason=f"no emulator: {qnn.available()}")


class Doubling:
    """A graph that doubles, slowly for large numbers."""

    def __init__(self, shape, opened):
        self.shape, self.opened, self.closed, self.runs = shape, opened, False, 0
        opened.append(self)

    def run(self, array):
        assert array.shape == self.shape and not self.closed
        self.runs += 1
        if array.max() < 0:
            raise ValueError("negative")
        time.sleep(0.002 * float(array.max()))
        return 2 * array

    def close(self):
        self.closed = True


def test_results_are_in_order_and_each_graph_is_prepared_once():
    opened: list[Doubling] = []
    lanes = Lanes(lambda shape, kind: Doubling(shape, opened), most=2)
    arrays = [np.full((1, 2), value) for value in (9, 1, 5, 0, 3, 7, 2)]
    for _ in range(3):
        assert [x.max() for x in lanes.run_all(iter(arrays))] == [2 * a.max() for a in arrays]
    assert len(opened) == 2 and sum(graph.runs for graph in opened) == 21
    lanes.close()
    assert all(graph.closed for graph in opened)


def test_no_more_graphs_are_open_than_there_are_lanes():
    opened: list[Doubling] = []
    most = []

    def open_graph(shape, kind):
        graph = Doubling(shape, opened)
        most.append(sum(not g.closed for g in opened))
        return graph

    lanes = Lanes(open_graph, most=2)
    threads = [
        threading.Thread(target=lambda n=n: [lanes.run(np.ones((1, 1 + (n + k) % 3))) for k in range(6)])
        for n in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 2


def test_an_error_ends_what_runs_and_the_next_array_starts_anew():
    opened: list[Doubling] = []
    lanes = Lanes(lambda shape, kind: Doubling(shape, opened), most=2)
    arrays = [np.full((1, 2), value) for value in (1, -1, 5, 5)]
    results = lanes.run_all(iter(arrays))
    assert next(results).max() == 2
    with pytest.raises(ValueError, match="negative"):
        list(results)
    assert lanes.run(np.ones((1, 2))).max() == 2


def test_one_caller_that_stops_early_ends_no_graph_of_another():
    opened: list[Doubling] = []
    lanes = Lanes(lambda shape, kind: Doubling(shape, opened), most=2)
    found: list[float] = []
    slow = threading.Thread(target=lambda: found.extend(x.max() for x in lanes.run_all([np.full((1, 3), 50.0)])))
    slow.start()
    for _ in range(5):  # takes the one result and never asks for more, as `assemble` does
        assert next(lanes.run_all([np.ones((1, 2))])).max() == 2
    slow.join()
    assert found == [100.0] and not any(graph.closed for graph in opened)


def description(size, radius=8):
    return Description(path=None, engine="none", input_size=size, radius=radius, tiling=Tiling.EXACT)


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_tiles_of_a_fixed_size_become_those_that_are_done_first(lanes):
    for size in ((120, 80), (40, 40), (128, 128), (200, 130), (33, 300), (333, 256), (683, 1024), (130, 129)):
        plan = plan_tiling(description((128, 128)), *size)
        best = Work((), lanes).best(plan, most_pixels=1 << 16)
        kept = np.zeros(size, int)
        for part in best.parts:
            kept[part.keep_y : part.keep_y_end, part.keep_x : part.keep_x_end] += 1
            assert part.y + part.height <= best.padded[0] and part.x + part.width <= best.padded[1]
            assert part.width % 4 == 0 and part.height % 4 == 0
        assert (kept == 1).all()
        assert (best.size, best.tiling, best.reason) == (plan.size, plan.tiling, plan.reason)

        def work(p):
            return -(-p.tiles // lanes) * p.run_size[0] * p.run_size[1]

        assert work(best) <= work(plan)
    small = Work((), 1).best(plan_tiling(description((128, 128)), 40, 40), most_pixels=1 << 16)
    assert small.run_size == (48, 48)


@needs_qnn
@pytest.mark.parametrize(("make", "bits"), [(srgan, 8), pytest.param(srgan, 16, marks=pytest.mark.slow), (mobile, 8)])
def test_the_bits_are_those_of_tiles_of_the_fixed_size(tmp_path, rng, monkeypatch, make, bits):
    """A picture smaller than the fixed size in one direction, and one that needs tiles; narrowed graphs, and whole."""
    path = tmp_path / "fixed.onnx"
    path.write_bytes(quantize(make((32, 32), blocks=1), bits=bits).SerializeToString())
    file = resolve(path, said=Said("NHWC", "0..1", "-1..1", "RGB"))
    monkeypatch.setattr(least_work, "OPENING", 0.0)
    for size in ((28, 8), (44, 36)) if bits == 8 else ((44, 36),):
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        found = []
        for checking in (-1e30, 1e30):  # products: always worth it, never
            monkeypatch.setattr(least_work, "CHECKING", checking)
            with open_session(file, on="emulator") as session:
                found.append(upscale_pixels(session, pixels))
                shape = (1, *found[-1].plan.run_size, 3)  # others are of the strip that was compared
                assert {kind is None for (s, kind), _ in session._lanes._idle if s == shape} == {checking > 0}
        with open_session(file, on="emulator") as session:
            assert session._any_size
            session._any_size = False
            fixed = upscale_pixels(session, pixels)
        for best in found:
            assert fixed.plan.run_size == (32, 32) != best.plan.run_size
            np.testing.assert_array_equal(best.pixels, fixed.pixels)


@needs_qnn
def test_one_picture_of_a_network_of_free_size_has_all_lanes(tmp_path, rng, monkeypatch):
    path = tmp_path / "free.onnx"
    path.write_bytes(free_size(quantize(srgan((32, 32), blocks=1))).SerializeToString())
    source = load_source(resolve(path, said=Said("NHWC", "0..1", "-1..1", "RGB")))
    monkeypatch.setattr(least_work, "OPENING", 0.0)
    monkeypatch.setattr(least_work, "CHECKING", 0.0)
    pixels = rng.integers(0, 256, (72, 36, 3), np.uint8)
    with emulator.EmulatorEngineSession(source, chip="SM8650", lanes=2) as session:
        split = upscale_pixels(session, pixels)
    with emulator.EmulatorEngineSession(source, chip="SM8650", lanes=2, pictures=2) as session:
        whole = upscale_pixels(session, pixels)
    assert (split.plan.tiles, whole.plan.tiles) == (2, 1)
    np.testing.assert_array_equal(split.pixels, whole.pixels)


def refuses(self, array):
    raise SnpeSrganError("the QNN worker failed")


@needs_qnn
@pytest.mark.parametrize(
    ("run", "said"),
    [(lambda self, array: np.zeros(self._shape, np.float32), "other bits"), (refuses, "takes no graph.*failed")],
)
def test_narrowed_graphs_that_do_not_work_are_told_and_not_used(tmp_path, rng, monkeypatch, run, said):
    path = tmp_path / "fixed.onnx"
    path.write_bytes(quantize(srgan((32, 32), blocks=1), bits=8).SerializeToString())
    file = resolve(path, said=Said("NHWC", "0..1", "-1..1", "RGB"))
    monkeypatch.setattr(least_work, "CHECKING", -1e30)
    monkeypatch.setattr(emulator._PartOf, "run", run)
    pixels = rng.integers(0, 256, (28, 8, 3), np.uint8)
    with open_session(file, on="emulator") as session, pytest.warns(Remark, match=said):
        found = upscale_pixels(session, pixels).pixels
    assert len(np.unique(found)) > 10
