"""Checkpoints: whole or recognised as torn; the last two kept."""

import numpy as np
import pytest

from snpe_srgan.errors import InputError
from snpe_srgan.training.checkpoint import (
    Progress,
    checkpoint_paths,
    config_hash,
    last_checkpoint,
    read_checkpoint,
    save_checkpoint,
)

CONFIG = {"seed": 0}


def progress(step, stage=0):
    return Progress(
        stage=stage, step=step, seed=7, seconds=1.5, stage_began=0.5, plan=(0, 0.0, 100), metrics_bytes=12, logged=1,
        best=None, config=CONFIG, config_hash=config_hash(CONFIG),
    )  # fmt: skip


def save(folder, step, stage=0):
    return save_checkpoint(folder, progress(step, stage), {"a/b": np.full((2, 3), step, np.float32)})


def test_round_trip(tmp_path):
    found, arrays = read_checkpoint(save(tmp_path, 5))
    assert found == progress(5) and arrays["a/b"].tolist() == [[5.0] * 3] * 2


def test_the_last_two_are_kept_in_order_of_stage_and_step(tmp_path):
    for stage, step in ((0, 9), (0, 10), (1, 2)):
        save(tmp_path, step, stage)
    assert [p.name for p in checkpoint_paths(tmp_path)] == ["00-000000010.ckpt", "01-000000002.ckpt"]


def damage_end(path):
    path.write_bytes(path.read_bytes()[:-1])


def damage_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def damage_all(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [damage_end, damage_bit, damage_all])
def test_a_torn_one_is_seen_and_the_one_before_is_used(tmp_path, damage):
    save(tmp_path, 1)
    damage(save(tmp_path, 2))
    said = []
    assert last_checkpoint(tmp_path, warn=said.append).progress.step == 1
    assert "00-000000002.ckpt" in said[0]


def test_nothing_whole_left(tmp_path):
    assert last_checkpoint(tmp_path, warn=print) is None
    damage_all(save(tmp_path, 1))
    with pytest.raises(InputError, match="all checkpoints are damaged"):
        last_checkpoint(tmp_path, warn=print)


def test_the_digest_depends_on_every_value():
    assert config_hash({"a": {"b": 1}}) != config_hash({"a": {"b": 2}})
    assert config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
