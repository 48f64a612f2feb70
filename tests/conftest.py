"""Fixtures that every test may use."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

REPO = Path(__file__).resolve().parents[1]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def restore_signals() -> None:
    """A job in the background ignores Ctrl-C, and one of `nohup` a closed terminal; children would inherit that.

    A signal that has a handler is at its default again in a program that is started.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGHUP", "SIGTERM"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)


restore_signals()


def shared_folder() -> Path | None:
    """The optional data folder (Set5, Set14, training photos), or None."""
    path = Path(os.environ.get("SNPE_SRGAN_SHARED", REPO.parent / "shared"))
    return path if (path / "data").is_dir() else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """`shared/data`, or a skip that says why."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("the shared data folder is absent (set SNPE_SRGAN_SHARED)")
    return folder / "data"


@pytest.fixture(scope="module")
def browser():
    """Chromium, or a skip that says what is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install playwright")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is missing: apt-get install chromium, or set CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
