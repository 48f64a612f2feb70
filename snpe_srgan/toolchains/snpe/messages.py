"""What the SDK's tools say when they fail, and what to do about it: data, tried in order, the first that fits.

    read_failure(text).lines, read_failure(text).hint

A converter prints its reason, then a Python traceback: the last line of all says little, the line marked ERROR much.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SHOWN = 3  # lines of a tool's own words in an error

# (what the tool says, what to do); patterns from public reports and Qualcomm's documentation.
KNOWN = (
    (
        r"No module named '?([\w.]+)'?|ModuleNotFoundError",
        "install that package into the Python that starts the converters (SNPE_SRGAN_SDK_PYTHON); the SDK's "
        "check-python-dependency lists what it wants",
    ),
    (
        r"GLIBC(XX)?_[\d.]+' not found",
        "this SDK is made for a newer system: use one of its supported Ubuntu releases, or a container of it",
    ),
    (
        r"error while loading shared libraries|cannot open shared object file|CANNOT LINK EXECUTABLE|"
        r"library \"[^\"]+\" not found",
        "a library is missing: is the SDK unpacked whole, and are libc++ and libatomic installed?",
    ),
    (
        r"Incomplete DLC|missing mandatory record|error_code=311",
        "the .dlc is of another major version, or of a conversion that failed: convert it again with this SDK",
    ),
    (
        r"testsig|ADSP_LIBRARY_PATH",
        "the DSP found no skeleton library that it may load: does this SDK have those of the chip's Hexagon version? "
        "Some phones' firmware takes signed ones only",
    ),
    (
        r"[Rr]untime is not available|Selected runtime not present|error_code=500|RUNTIME_NOT_AVAILABLE",
        "this chip or phone has no such runtime: snpe-srgan devices tells what it has; --runtime cpu always works",
    ),
    (
        r"not quantized|non-quantized|NON_QUANTIZED|requires? (a )?quantized",
        "this runtime takes quantized models only: snpe-srgan quantize",
    ),
    (
        r"OpNotImplemented|not supported in frontend|[Oo]peration.*not supported|not support(ed)? by the converter|"
        r"No translation registered|ERROR_TF_OPERATION_NOT_MAPPED|unsupported op|[Oo]p.*(failed|fails) validation|"
        r"Some operations in the Tensorflow graph were not resolved",
        "an operator of the network is unknown to this SDK: take a newer one, or the toolchain qnn",
    ),
    (
        r"[Dd]imension|[Ss]hape|rank|(not|n't) broadcast|mismatch",
        "sizes do not fit: give --input-size as the network was made for, without free dimensions",
    ),
    (
        r"[Nn]o space left|ENOSPC",
        "free some space there",
    ),
    (r"(un(recognized|known)|invalid) (arguments|option)", "this SDK is of another version than it says: --sdk FOLDER"),
    (r"Illegal instruction|signal 4", "the tools need a CPU with SSE4.2 / AVX: an emulated one may lack them"),
    (r"[Oo]ut of memory|bad_alloc|MemoryError|Killed", "memory ran out: a smaller --input-size, fewer --count"),
)  # fmt: skip
NOISE = re.compile(
    r"^\s*(File \"|Traceback|at |\^+$)|^\s{4,}\S|WARNING|DeprecationWarning|FutureWarning|tensorflow/core|DebugLog|"
    r"^\s*$|^-+$|^usage:|^\s+\["
)
MARKED = re.compile(r"ERROR|[Ee]rror[: _]|Encountered|FATAL|[Ff]ailed|Invalid|terminate called|cannot|CANNOT")
STAMP = re.compile(r"^[\d-]{10} [\d:,.]{8,12} - \d+ - (ERROR - )?|^\[(ERROR|INFO)\]\s*|^\S+: error: ")


@dataclass(frozen=True)
class Failure:
    """The words of a tool that failed, at most `SHOWN` lines of them, and what to do where that is known."""

    lines: tuple[str, ...]
    hint: str | None


def read_failure(text: str) -> Failure:
    """The last lines of a tool's output that are marked as errors (its last of all where none is), and what to do."""
    lines = [line.rstrip() for line in text.splitlines()]
    meant = [STAMP.sub("", line).strip() for line in lines if not NOISE.search(line)]
    marked = [line for line in meant if MARKED.search(line)]
    chosen = list(dict.fromkeys(marked or meant))[-SHOWN:]
    return Failure(tuple(chosen), hint_for("\n".join(chosen)) or hint_for(text))


def hint_for(text: str) -> str | None:
    """What to do about a tool's words: the first entry of `KNOWN` that occurs in them, or None."""
    return next((hint for pattern, hint in KNOWN if re.search(pattern, text)), None)
