"""TensorFlow as this project uses it: without its start-up chatter, and the same on a GPU as on a CPU.

import_tensorflow()             # before anything else that imports it
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile

from snpe_srgan.machine import require_room


def import_tensorflow():
    """The module, set up; what its native code writes on standard error meanwhile is shown only when that fails.

    A process that has imported TensorFlow itself may call this as well, before it computes anything.
    """
    if "tensorflow" in sys.modules:
        _set_up(sys.modules["tensorflow"])
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

            _set_up(tensorflow)  # looks for GPUs, which a build with CUDA reports as errors where there is none
        except BaseException:
            chatter.seek(0)
            os.write(saved, chatter.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
    return tensorflow


def _set_up(tensorflow) -> None:
    """float32 means float32 on every device, and a GPU's memory is taken as it is needed, not all at once."""
    # Since Ampere, GPUs multiply float32 with 10 bits of mantissa unless they are told not to.
    tensorflow.config.experimental.enable_tensor_float_32_execution(False)
    for gpu in tensorflow.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # in use already: its memory has been taken
            tensorflow.config.experimental.set_memory_growth(gpu, True)
