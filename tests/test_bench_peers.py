"""scripts/bench_peers: the table of peers, and when a bar holds."""

from __future__ import annotations

from dataclasses import replace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import pytest


@pytest.fixture(scope="module")
def bench(request):
    loader = SourceFileLoader("bench_peers", str(request.config.rootpath / "scripts" / "bench_peers"))
    module = module_from_spec(spec_from_loader("bench_peers", loader))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.dont_write_bytecode", True)
        patch.setitem(__import__("sys").modules, "bench_peers", module)
        loader.exec_module(module)
        yield module


def test_bars_compare_with_the_table(bench):
    peers = {row.name: row for row in bench.read_peers()}
    assert set(bench.BEATEN) <= set(peers) and all(row.origin and min(row.psnr) > 25 for row in peers.values())
    slim = peers[bench.BEATEN[0]]
    twin = replace(slim, run_seconds=1.0, run_cpu_seconds=1.0, run_bytes=1)
    better = replace(twin, psnr=(31, 28), seconds_per_megapixel=slim.seconds_per_megapixel / 2)

    def missed(row):
        return [text for text, held in bench.bars(row, list(peers.values())) if not held]

    assert missed(better) == [] and len(missed(replace(better, run_seconds=3.1, run_bytes=2e9))) == 2
    assert len(missed(replace(better, psnr=(31, 26)))) == 1 and "2.0 times" in bench.bars(better, [slim])[2][0]
    assert len(bench.lines([better], list(peers.values()))) == 3 + len(peers)
