"""TensorFlow without its start-up chatter: two notices about oneDNN that no log level of its own silences.

import_tensorflow()             # before anything else that imports it
"""

from __future__ import annotations

import os
import sys
import tempfile


def import_tensorflow():
    """The module; what its native code writes on standard error while loading is shown only when loading fails."""
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    saved = os.dup(2)
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
