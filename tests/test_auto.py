"""`auto`: the first recipe that holds, an error that names the best when none does."""

from __future__ import annotations

import pytest
from helpers_cli import assert_error, snpe_srgan

from snpe_srgan.errors import CheckFailed
from snpe_srgan.quantization.auto import cheapest

LOSSES = {"a": {"Set5": 0.5, "Set14": 0.7}, "b": {"Set5": 0.02, "Set14": 0.2}, "c": {"Set5": 0.0, "Set14": 0.01}}


def attempt(name):
    return name.upper(), LOSSES[name]


@pytest.mark.parametrize(("allowed", "tried"), [(1.0, "a"), (0.2, "ab"), (0.1, "abc")])
def test_it_stops_at_the_first_whose_worst_set_holds(allowed, tried):
    found = cheapest("abc", attempt, max_drop=allowed)
    assert "".join(t.recipe for t in found.tries) == tried and found.result == tried[-1].upper()


def test_none_that_holds_is_an_expected_failure_that_names_the_best():
    with pytest.raises(CheckFailed, match=r"the best, c, loses 0\.010"):
        cheapest("abc", attempt, max_drop=0.001)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--recipe", "auto"), "--max-drop"),
        (("--recipe", "auto", "--max-drop", "0.1"), "--evaluate"),
        (("--max-drop", "0.1"), "--recipe auto"),
        (("--recipe", "w8a8-qat", "--calibration", "synthetic"), "HR pictures"),
        (("--calibration", "none"), "without calibration pictures"),
        (("--calibration", "none", "--recipe", "w8a8-cle"), "batch-norm"),
        (("--calibration", "none", "--calibration", "sample"), "exclude each other"),
        (("--recipe", "w8a8-abc"), "batch-norm"),
    ],
)
def test_what_contradicts_itself_is_a_usage_error(words, said, tmp_path):
    assert_error(snpe_srgan("quantize", "mobile", "-o", tmp_path, "--onnx-only", *words), 2, said)
