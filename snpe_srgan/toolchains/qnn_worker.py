"""The child process in which Qualcomm's libraries live; the parent side is `qnn_process.py`.

Native code may print, crash or eat memory: here it can do so without harm. The process reads requests on its
standard input and answers on what was its standard output; whatever the libraries print goes to standard error, which
the parent keeps in a file. See `confined/messages.py`.

    python -m snpe_srgan.toolchains.qnn_worker 1     # started by qnn_process.Worker, not by hand; runs on CPU 1
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
from pathlib import Path

import numpy as np

from snpe_srgan.confined.messages import receive, send

EP_NAME = "QNNExecutionProvider"


class Engine:
    """One QNN session and what can be asked of it."""

    def __init__(self):
        import onnxruntime as ort
        import onnxruntime_qnn as qnn

        ort.set_default_logger_severity(3)
        ort.register_execution_provider_library(EP_NAME, qnn.get_library_path())
        self.devices = [d for d in ort.get_ep_devices() if d.ep_name == EP_NAME]
        if not self.devices:
            raise RuntimeError("onnxruntime-qnn registered no device")
        self.ort, self.backend = ort, Path(qnn.get_qnn_htp_path())
        self.session = None

    def open(self, model: str, options: dict, strict: bool = True) -> dict:
        """Prepares `model` for the HTP; `strict`: an operator the HTP refuses is an error, never run on the CPU.

        Args:
            model: path of an ONNX model of fixed shape.
            options: as of `qnn_process.Worker.open`; those that begin with `ep.` are taken out of the dict.

        Returns:
            `inputs` and `outputs`, each a list of [name, shape, ONNX type as 'tensor(float)'].
        """
        settings = self.ort.SessionOptions()
        settings.log_severity_level = 3
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1" if strict else "0")
        for key in [key for key in options if key.startswith("ep.")]:  # the session's, not the provider's
            settings.add_session_config_entry(key, options.pop(key))
        folder = self.backend.parent
        provider = {"backend_path": str(self.backend), **options}
        if provider.get("dump_qnn_ir_dlc") == "1":
            provider["qnn_ir_backend_path"] = str(folder / self.backend.name.replace("QnnHtp", "QnnIr"))
        settings.add_provider_for_devices(self.devices, provider)
        self.session = self.ort.InferenceSession(model, settings)
        return {
            "inputs": [[i.name, i.shape, i.type] for i in self.session.get_inputs()],
            "outputs": [[o.name, o.shape, o.type] for o in self.session.get_outputs()],
        }

    def close(self) -> dict:
        """Drops the session: the profile file is complete only then."""
        self.session = None
        return {}

    def run(self, arrays) -> list[np.ndarray]:
        """One inference: arrays in the order of the graph's inputs -> arrays in the order of its outputs."""
        names = [i.name for i in self.session.get_inputs()]
        return self.session.run(None, dict(zip(names, arrays, strict=True)))


def _requests(stream) -> queue.Queue:
    """Reads ahead in a thread, so that the process ends at once when its parent does, even in mid-inference."""
    waiting: queue.Queue = queue.Queue()

    def pump():
        while (message := receive(stream)) is not None:
            waiting.put(message)
        os._exit(0)

    threading.Thread(target=pump, daemon=True).start()
    return waiting


def pin(cpu: int) -> None:
    """Keeps this process, and every thread it will start, on one CPU.

    The emulator computes in one thread while another spins, waiting for it. On one CPU they take turns and share its
    caches: 1.35 times as fast as on two here (64x64, w8a8), and the other CPUs are free for other work.
    """
    with contextlib.suppress(OSError):  # taken from this process since it was chosen: then run wherever it may
        os.sched_setaffinity(0, {cpu})


def main() -> None:
    """Answers requests until the parent's end of the pipe closes; a failure is an answer too.

    A request's `do` is `open` (see `Engine.open`), `run` (arrays in, arrays out) or anything else to drop the session.
    The answer holds `ok`, and for a failure `kind` (the exception's class) and `error` (its words).
    """
    if len(sys.argv) > 1:
        pin(int(sys.argv[1]))  # before any library counts the CPUs
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C: go quietly, the parent explains
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native code prints must not mix with the replies
    requests = _requests(sys.stdin.buffer)
    engine = None
    while True:
        message, arrays = requests.get()
        try:
            engine = engine or Engine()
            if message["do"] == "open":
                reply, results = engine.open(message["model"], message["options"], message["strict"]), []
            elif message["do"] == "run":
                reply, results = {}, engine.run(arrays)
            else:
                reply, results = engine.close(), []
            send(replies, {"ok": True, **reply}, results)
        except Exception as error:  # whatever native code throws becomes one reply
            send(replies, {"ok": False, "kind": type(error).__name__, "error": str(error)})


if __name__ == "__main__":
    main()
