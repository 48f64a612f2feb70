"""No command looks up a name, opens a connection or leaves an id behind; and all of them work without a home folder.

A small library that the dynamic linker loads first takes the place of the system's name look-ups, whoever calls them,
and of its table of users: it writes down what was asked for, and answers that there is none.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_training import pictures
from PIL import Image

from snpe_srgan.toolchains import qnn

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void record(const char *what, const char *name) {
    const char *path = getenv("SHIM_RECORD");
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT, 0644) : -1;
    if (file < 0) return;
    dprintf(file, "%s %s\n", what, name ? name : "");
    close(file);
}
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    record("getaddrinfo", name);
    return EAI_FAIL;
}
struct hostent *gethostbyname(const char *name) { record("gethostbyname", name); return NULL; }
static int internet(const struct sockaddr *to) {
    return to && (to->sa_family == AF_INET || to->sa_family == AF_INET6);
}
int connect(int socket, const struct sockaddr *to, socklen_t size) {
    if (internet(to)) { record("connect", ""); errno = ENETUNREACH; return -1; }
    return ((int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect"))(socket, to, size);
}
ssize_t sendto(int socket, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t size) {
    if (internet(to)) { record("sendto", ""); errno = ENETUNREACH; return -1; }
    return ((ssize_t (*)(int, const void *, size_t, int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "sendto"))
        (socket, data, length, flags, to, size);
}
int getpwuid_r(uid_t uid, struct passwd *entry, char *buffer, size_t size, struct passwd **result) {
    if (getenv("SHIM_NO_USERS")) { *result = NULL; return 0; }
    return ((int (*)(uid_t, struct passwd *, char *, size_t, struct passwd **))dlsym(RTLD_NEXT, "getpwuid_r"))
        (uid, entry, buffer, size, result);
}
"""
needs_wheel = pytest.mark.skipif(qnn.available() is not None, reason=f"no QNN: {qnn.available()}")
CONFIG = """
name: tiny
model: {name: mobile, options: {width: 4, depth: 2}}
data: {root: data, train: [photos], valid: [photos], valid_limit: 1, crop: 16, batch_size: 2}
training: {stages: [{steps: 2}]}
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory) -> Path:
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler: name look-ups are caught by a preloaded library")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    command = ["cc", "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c", "-ldl"]
    subprocess.run(command, check=True)
    return folder / "shim.so"


class Place:
    """A folder to work in, a home, and what the shim wrote down."""

    def __init__(self, folder: Path, shim: Path):
        self.folder, self.home, self.lookups = folder, folder / "home", folder / "lookups.txt"
        self.home.mkdir()
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("XDG_")},
            "HOME": str(self.home), "LD_PRELOAD": str(shim), "SHIM_RECORD": str(self.lookups), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self.environment.pop("ORT_DISABLE_TELEMETRY", None)  # set in this process already
        pictures(folder / "photos")
        (folder / "c.yaml").write_text(CONFIG)

    def python(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )

    def does(self, *arguments: str) -> None:
        done = self.python("-m", "snpe_srgan", *arguments)
        assert done.returncode == 0, done.stderr

    def assert_offline(self) -> None:
        asked = self.lookups.read_text() if self.lookups.exists() else ""
        assert not asked
        left = [path for path in self.home.rglob("*") if path.is_file()]
        assert not [path for path in left if "cid" in path.name or "deviceid" in path.name or "telemetry" in str(path)]


@pytest.fixture
def place(tmp_path, shim) -> Place:
    return Place(tmp_path, shim)


def test_the_shim_sees_a_look_up(place):
    place.python("-c", "import socket; socket.getaddrinfo('example.org', 80)")
    assert place.lookups.read_text() == "getaddrinfo example.org\n"


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_run_is_offline(place, engine):
    place.does("run", "photos/0.png", "-o", "out.png", "--engine", engine)
    assert (place.folder / "out.png").exists()
    place.assert_offline()


@needs_wheel
def test_quantize_is_offline(place):
    """The children too: the .dlc is written, and judged, by Qualcomm's libraries in a process of their own."""
    place.does("quantize", "mobile", "--calibration", "photos", "--count", "2", "--input-size", "32x32", "-o", "q")
    place.assert_offline()


@pytest.mark.slow
def test_a_networks_file_of_others_is_read_offline(place):
    """The children that read strangers' files, by the libraries of each: .onnx, .pb, and weights of PyTorch."""
    place.does("convert", "mobile", "--onnx-only", "-o", "c")
    place.does("freeze", "mobile", "-o", "f.pb")
    for model in ("c/mobile.onnx", "f.pb"):
        stranger = place.folder / f"stranger{Path(model).suffix}"
        shutil.copy(place.folder / model, stranger)  # without its card
        place.does("inspect", stranger.name)
        place.does("run", stranger.name, "photos/0.png", "-o", f"{stranger.suffix[1:]}.png")
    place.does("import", "stranger.onnx", "-o", "imported.onnx")
    place.assert_offline()


def test_plan_compare_and_devices_are_offline(place):
    place.does("plan", "mobile", "--chip", "8 Gen 3", "--output", "1080x1920", "--fps", "1")
    place.does("devices")
    place.does("compare", "mobile", "--hr", "photos/0.png", "-o", "page.html")
    page = (place.folder / "page.html").read_text()
    assert not re.findall(r"(?:src|href)\s*=\s*[\"']?https?:|@import|url\(\s*[\"']?https?:", page)  # a browser's too
    place.assert_offline()


@pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="videos need PyAV (the extra `video`)")
def test_a_video_is_enlarged_offline(place):
    from helpers_video import make_clip

    make_clip(place.folder / "a.mp4", frames=3)
    place.does("run", "mobile", "a.mp4", "-o", "b.mp4")
    assert (place.folder / "b.mp4").stat().st_size
    place.assert_offline()


@needs_wheel
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="deploy needs the extra `litert`")
def test_deploy_is_offline(place):
    """Qualcomm's and LiteRT's compilers and the emulator, each in a child."""
    words = ("--calibration", "photos", "--input-size", "32x32", "--target", "8 Gen 3")
    place.does("deploy", "mobile", *words, "-o", "bundle")
    place.assert_offline()


@needs_wheel
@pytest.mark.slow
def test_training_and_all_that_follows_is_offline(place):
    place.does("train", "-c", "c.yaml", "--run-dir", "run")
    place.does("convert", "run", "--input-size", "24x24", "-o", "c")
    place.does("freeze", "run", "-o", "f.pb")
    place.does("evaluate", "run", "photos")
    place.does("benchmark", "run", "--runs", "1")
    place.does("doctor")
    place.assert_offline()


@pytest.mark.parametrize("home", [None, "no/such/folder", "photos/0.png"])
def test_without_a_home_folder(place, home):
    """No HOME, and no entry in the table of users either; a home that is missing; one that is a file."""
    place.environment |= {"SHIM_NO_USERS": "1", "HOME": str(place.folder / (home or ""))}
    if home is None:
        del place.environment["HOME"]
    place.does("run", "photos/0.png", "-o", "out.png", "--engine", "openvino")
    place.does("inspect", "--models")
    assert np.asarray(Image.open(place.folder / "out.png")).shape == (192, 192, 3)


@pytest.mark.slow
def test_every_verb_without_a_home_folder(place):
    place.environment |= {"SHIM_NO_USERS": "1"}
    del place.environment["HOME"]
    place.does("train", "-c", "c.yaml", "--run-dir", "run")
    place.does("convert", "run", "--input-size", "24x24", "-o", "c")
    place.does("quantize", "run", "--calibration", "photos", "--count", "2", "--input-size", "24x24", "-o", "q")
    place.does("evaluate", "run", "photos", "--save-images", "pictures")
    place.does("benchmark", "run", "--runs", "1")
    place.does("doctor")
