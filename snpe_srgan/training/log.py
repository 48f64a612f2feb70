"""What a run writes while it trains: `metrics.jsonl`, TensorBoard events, `log.txt`, and a bar or plain lines."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snpe_srgan.artifacts.files import make_folder, os_error
from snpe_srgan.artifacts.own import open_own, require_own_folders
from snpe_srgan.console import Output
from snpe_srgan.progress import Progress, track
from snpe_srgan.streams import printable


class RunLog:
    """The chief's log; the other workers of a distributed run have one that writes nothing (`folder` None)."""

    def __init__(self, folder: Path | None, output: Output, *, metrics_bytes: int = 0):
        self.folder, self.output = folder, output
        self._bar: Progress | None = None
        self._metrics: Any = None
        self._text: Any = None
        self._board: Any = None
        if folder is None:
            return
        make_folder(folder)
        require_own_folders([folder / "tb"], doing="write the logs")
        self._metrics = open_own(folder / "metrics.jsonl", doing="write the logs")  # closed by close()
        self._text = open_own(folder / "log.txt", doing="write the logs")
        # Lines behind the checkpoint belong to steps that will be done again.
        self._guarded(lambda: self._metrics.truncate(metrics_bytes))
        self._metrics.seek(0, 2)
        import tensorflow as tf

        self._board = tf.summary.create_file_writer(str(folder / "tb"))

    @property
    def metrics_bytes(self) -> int:
        """Length of `metrics.jsonl`, everything written out."""
        if self._metrics is None:
            return 0
        self._guarded(self._metrics.flush)
        return self._metrics.tell()

    def say(self, text: str) -> None:
        """A line for people: stderr and log.txt."""
        if self._text is None:
            return
        self._note(text)
        self.output.note(text)

    def warn(self, text: str) -> None:
        """A remark that stands out: stderr (also with -q) and log.txt."""
        if self._text is None:
            return
        self._note(f"warning: {text}")
        self.output.warn(text)

    def _note(self, text: str) -> None:
        now = datetime.datetime.now().isoformat(" ", "seconds")
        self._guarded(lambda: self._text.write(f"{now}  {printable(text)}\n".encode("utf-8", "backslashreplace")))
        self._guarded(self._text.flush)

    def progress(self, text: str) -> None:
        """A regular line: log.txt, and stderr where there is no bar that says the same."""
        if self._bar is None:
            self.say(text)
        else:
            self._note(text)

    def metrics(self, kind: str, stage: str, step: int, total_step: int, values: Mapping[str, float]) -> None:
        """One line of metrics.jsonl, and the same values for TensorBoard.

        Args:
            kind: what was measured, 'train' or 'validation'.
            stage: its name.
            step: done in the stage.
            total_step: done in all stages, TensorBoard's axis.
            values: name -> number; one that is not finite is null in the file and left out of TensorBoard.

        Raises:
            InputError: the file cannot be written.
        """
        if self._metrics is None:
            return
        plain = {k: (v if math.isfinite(v) else None) for k, v in values.items()}
        line = json.dumps({"kind": kind, "stage": stage, "step": step, **plain}) + "\n"
        self._guarded(lambda: self._metrics.write(line.encode()))
        self._guarded(self._metrics.flush)
        import tensorflow as tf

        # tf.summary.scalar wants the TensorBoard package installed; writing its events does not.
        scalars = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"})
        with self._board.as_default(step=total_step):
            for key, value in plain.items():
                if value is not None:
                    tf.summary.write(f"{stage}/{kind}/{key}", tf.constant(value, tf.float32), metadata=scalars)

    def bar(self, *, stage: str, total: int, done: int) -> None:
        """Starts a stage's bar; nothing where no person watches.

        Args:
            stage: its name, in front of the bar.
            total, done: pictures of the whole stage, and before now.
        """
        self.close_bar()
        if self._text is not None and self.output.say.terminal:  # elsewhere `progress` says more than plain lines would
            self._bar = track(self.output.say, stage, total=total, unit="image", done=done)

    def advance(self, pictures: int) -> None:
        """Moves the bar by so many pictures, where there is one."""
        if self._bar is not None:
            self._bar.advance(pictures)

    def retarget(self, total: int, text: str) -> None:
        """A corrected total (see plan.py) and what stands behind the bar."""
        if self._bar is not None:
            self._bar.to(self._bar.done, total, note=text)

    def close_bar(self) -> None:
        """Ends the bar, where there is one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def close(self) -> None:
        """Ends the bar and closes the files."""
        self.close_bar()
        for file in (self._metrics, self._text, self._board):
            if file is not None:
                self._guarded(file.close)
        self._metrics = self._text = None
        self._board = None

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def _guarded(self, write) -> None:
        try:
            write()
        except OSError as error:
            raise os_error(error, self.folder, "write the logs") from error
