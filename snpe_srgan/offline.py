"""No library of ours uses the network, or writes an id of its user, without being asked.

Runs when `snpe_srgan` is imported, so before any of these libraries can be, and in each child process too, as
every child imports `snpe_srgan` or inherits the environment:

- ONNX Runtime from 1.32 on sends events to Microsoft and keeps a device id below ~/.cache. Its Privacy.md names
  ORT_DISABLE_TELEMETRY, which must be set before it is loaded.
- OpenVINO sends events to Google Analytics when it is imported, and keeps an id below ~/intel. It has no switch but a
  file in the home folder; without the package `openvino_telemetry` it uses a stub of its own. So that package cannot
  be imported here. (Its look for that file is also why OpenVINO cannot be imported by a user without a home folder.)
- DO_NOT_TRACK and HF_HUB_DISABLE_TELEMETRY are what several tools heed, also those that an SDK starts.
"""

from __future__ import annotations

import os
import sys

SWITCHES = {"ORT_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
BLOCKED = ("openvino_telemetry",)


def switch_telemetry_off() -> None:
    """Sets the switches in this process's environment and blocks the packages that have none."""
    os.environ.update(SWITCHES)
    for name in BLOCKED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # import then raises ModuleNotFoundError
