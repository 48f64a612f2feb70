"""The stage runner: redoes nothing unchanged, continues what was cut off, asks before it replaces costly work."""

import json

import pytest

from snpe_srgan.console import Output
from snpe_srgan.errors import InputError
from snpe_srgan.pipeline.engine import Stage, run_stages


class Recorder:
    """Two stages, b made from a's file, that note each time they are run."""

    def __init__(self, folder):
        self.folder, self.calls, self.broken = folder, [], None

    def stages(self, a=1, b=1, costly=False, always=False):
        return [
            Stage("a", "A", {"a": a}, (), (self.folder / "a",), self.make("a", f"{a}"), costly, always),
            Stage("b", "B", {"b": b}, (self.folder / "a",), (self.folder / "b",), self.make("b", f"{b}")),
        ]

    def make(self, name, text):
        def make(resumed):
            self.calls.append((name, resumed))
            if self.broken == name:
                raise KeyboardInterrupt
            (self.folder / name).write_text(text)

        return make

    def run(self, overwrite=False, **settings):
        self.calls.clear()
        run_stages(self.stages(**settings), self.folder, output=Output(quiet=True), overwrite=overwrite)
        return [name for name, _ in self.calls]


@pytest.fixture
def pipeline(tmp_path):
    return Recorder(tmp_path)


def test_nothing_is_redone(pipeline):
    assert pipeline.run() == ["a", "b"]
    assert pipeline.run() == []


def test_a_change_redoes_what_depends_on_it(pipeline):
    pipeline.run()
    assert pipeline.run(b=2) == ["b"]
    assert pipeline.run(a=2, b=2) == ["a", "b"]


def test_same_content_stops_the_ripple(pipeline, monkeypatch):
    pipeline.run()
    (pipeline.folder / "b").unlink()
    assert pipeline.run() == ["b"]
    (pipeline.folder / "a").write_text("damaged")
    assert pipeline.run() == ["a"]  # made again with the same content: b's input did not change


def test_interrupted_stage_is_continued(pipeline):
    pipeline.broken = "b"
    with pytest.raises(KeyboardInterrupt):
        pipeline.run()
    pipeline.broken = None
    assert pipeline.run() == ["b"] and pipeline.calls == [("b", True)]


def test_interrupted_stage_with_other_settings_starts_afresh(pipeline):
    pipeline.broken = "b"
    with pytest.raises(KeyboardInterrupt):
        pipeline.run()
    pipeline.broken = None
    pipeline.run(b=2)
    assert pipeline.calls == [("b", False)]


def test_costly_result_is_kept(pipeline):
    pipeline.run(costly=True)
    with pytest.raises(InputError, match="other settings"):
        pipeline.run(a=2, costly=True)
    assert (pipeline.folder / "a").read_text() == "1"
    assert pipeline.run(a=2, costly=True, overwrite=True) == ["a", "b"]


DONE = {"fingerprint": "a", "seconds": 1.0, "outputs": {"a": "b"}}


@pytest.mark.parametrize(
    "state",
    [
        [1], {"a": 1}, {"a": {}}, {"a": {"started": 1}}, {"a": {"started": "x", "outputs": {}}},
        {"a": {"fingerprint": "a", "outputs": {}}}, {"a": {**DONE, "fingerprint": None}},
        {"a": {**DONE, "seconds": "1"}}, {"a": {**DONE, "seconds": -1}}, {"a": {**DONE, "outputs": ["a"]}},
        {"a": {**DONE, "outputs": {"a": 1}}},
        {"a": {**DONE, "outputs": {"/proc/kcore": "b"}}}, {"a": {**DONE, "outputs": {"../../x": "b"}}},
        {"a": {**DONE, "outputs": {"a\0b": "b"}}},
    ],
)  # fmt: skip
def test_a_damaged_state_is_an_error_that_says_the_way_out(pipeline, state):
    (pipeline.folder / "pipeline.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match="damaged") as caught:
        pipeline.run()
    assert "delete it" in caught.value.hint


def test_a_stage_that_always_looks_redoes_others_only_when_it_sees_a_change(pipeline):
    pipeline.run(always=True)
    assert pipeline.run(always=True) == ["a"]
    assert pipeline.run(always=True, a=2) == ["a", "b"]
