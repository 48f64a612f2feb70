"""The one way to open a file: what is no regular file is refused at once, whatever it was to be read as."""

from __future__ import annotations

import os
import re
import socket
import time

import pytest

from snpe_srgan.artifacts.files import read_json
from snpe_srgan.errors import InputError
from snpe_srgan.opener import open_regular, read_regular, read_text


@pytest.fixture
def odd(tmp_path):
    """Name -> a path that is no regular file."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    yield {
        "a pipe": tmp_path / "pipe", "a folder": tmp_path / "folder", "a device": tmp_path / "link",
        "a socket": tmp_path / "socket", "symbolic links": tmp_path / "loop", "null": tmp_path / "a\0b",
        "too long": tmp_path / ("n" * 300), "no such file": tmp_path / "absent",
    }  # fmt: skip
    server.close()


def test_what_is_no_regular_file_is_refused_at_once_and_by_its_kind(odd):
    for words, path in odd.items():
        start = time.process_time()
        with pytest.raises(InputError, match=f"(?i)cannot read the file: .*{words}"):
            read_regular(path, limit=1 << 30)
        assert time.process_time() - start < 1


def _readers():
    """Name -> whatever of ours reads a file that a user names."""
    from snpe_srgan.artifacts.files import sha256
    from snpe_srgan.config import load_config
    from snpe_srgan.data.extract import extract
    from snpe_srgan.data.headers import read_header
    from snpe_srgan.dlc.reader import read
    from snpe_srgan.imaging.pictures import read_picture
    from snpe_srgan.losses.feature_networks import vgg19
    from snpe_srgan.losses.feature_weights import read_h5
    from snpe_srgan.metrics.lpips import read_heads
    from snpe_srgan.models.frozen_graph import check_frozen_graph
    from snpe_srgan.models.npz import load_npz
    from snpe_srgan.onnx_graphs.model import read_onnx
    from snpe_srgan.pipeline.engine import _load
    from snpe_srgan.toolchains.qnn_wheel import check_static
    from snpe_srgan.training.checkpoint import read_checkpoint
    from snpe_srgan.zoo.foreign import read_foreign
    from snpe_srgan.zoo.foreign_keras import read_krasserm

    found = (
        sha256, load_config, read_header, read, read_picture, check_frozen_graph, load_npz, read_onnx, _load,
        check_static, read_checkpoint, read_foreign, read_krasserm,
    )  # fmt: skip
    return {
        **{function.__name__: function for function in found},
        "extract": lambda path: extract(path, path.parent / "unpacked", ["a.png"]),
        "read_h5": lambda path: read_h5(vgg19(), path),
        "read_heads": read_heads,
    }


def test_every_reader_refuses_what_is_no_regular_file(odd):
    for name, reader in _readers().items():
        for words, path in odd.items():
            if name == "_load" and not os.path.exists(path):
                continue  # a pipeline that begins
            start = time.process_time()
            try:
                reader(path)
                said = "nothing"
            except InputError as error:
                said = str(error)
            assert time.process_time() - start < 3, (name, words)
            assert re.search(f"(?i){words}", said), (name, words, said)


def test_a_file_over_the_limit_is_not_read(tmp_path):
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="larger than 1 MB"):
        read_regular(path, limit=1 << 20)
    with pytest.raises(InputError, match="larger than 100 bytes"):
        read_regular("/proc/self/status", limit=100)  # says that it is empty
    assert b"Name:" in read_regular("/proc/self/status", limit=1 << 20)


def test_files_and_links_to_files_are_read(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfabc")
    (tmp_path / "b").symlink_to("a")
    assert read_regular(tmp_path / "b", limit=6) == b"\xef\xbb\xbfabc"
    assert read_text(tmp_path / "b") == "abc"
    with open_regular(tmp_path / "b") as file:
        assert file.read() == b"\xef\xbb\xbfabc"


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "9" * 10_000, '{"a": NaN}', "\x00", '"\\ud8'])
def test_json_that_is_none_is_one_short_error(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(InputError, match="not a JSON file") as caught:
        read_json(tmp_path / "bad.json")
    assert len(str(caught.value)) < 400
    (tmp_path / "bad.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(InputError, match="not UTF-8"):
        read_json(tmp_path / "bad.json")
