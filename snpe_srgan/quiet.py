"""TensorFlow's import without the lines its libraries print before any log level applies.

    import_tensorflow()
    import tensorflow as tf     # silent from here on, with TF_CPP_MIN_LOG_LEVEL=2
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def native_stderr_silenced() -> Iterator[None]:
    """File descriptor 2 goes nowhere meanwhile, so what C++ code prints is lost; Python exceptions are not."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def import_tensorflow() -> None:
    with native_stderr_silenced():
        import tensorflow  # noqa: F401
