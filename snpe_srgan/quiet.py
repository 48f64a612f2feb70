"""TensorFlow without its start-up chatter: two notices about oneDNN that no log level of its own silences.

import_tensorflow()             # before anything else that imports it
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile

from snpe_srgan.machine import require_room


def import_tensorflow():
    """The module; what its native code writes on standard error while loading is shown only when loading fails."""
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    require_room("tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        saved = os.dup(2)
    except OSError:  # no standard error: nothing to keep quiet
        import tensorflow

        return tensorflow
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            import tensorflow
        except BaseException:
            chatter.seek(0)
            os.write(saved, chatter.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
    return tensorflow
