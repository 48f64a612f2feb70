"""What this machine is and has: processor, memory, installed packages. Asked without loading any of it."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from pathlib import Path

from snpe_srgan.errors import MissingToolError, SnpeSrganError


def cpu() -> tuple[str, set[str]]:
    """The processor's name and its instruction-set flags (Linux; elsewhere only the name)."""
    name, flags = platform.processor() or platform.machine(), set()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = set(value.split())
                break
    except OSError:
        pass
    return name, flags


def usable_threads() -> int:
    """The processors this process may use (a container's or taskset's share, not the whole machine's)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_parts = 1  # see `share_memory`


def share_memory(processes: int) -> None:
    """So many processes like this one are at work side by side: each may take its part of what is free."""
    global _parts
    _parts = max(1, processes)


def available_memory() -> int | None:
    """Bytes this process may still take (of the machine, the container, `ulimit -v`: the least), None if unknown."""
    found = _below_own_limit()
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    except (OSError, ValueError):
        pass
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit.isdecimal():
            found.append(int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):
        pass
    if not found and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(found)) // _parts if found else None


def _below_own_limit() -> list[int]:
    """Bytes of address space left below this process's own limit, as a list of one, or of none without a limit."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return []
        return [limit - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()]
    except (ImportError, OSError, ValueError):
        return []


def installed(package: str) -> bool:
    """Whether a module can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def require(package: str, *, what: str, pip: str | None = None) -> None:
    """Refuses to go on unless a package is installed and there is room to load it.

    Args:
        package: the module's name.
        what: needs it, for the error.
        pip: what to install, where that has another name.

    Raises:
        MissingToolError: it is not installed.
        SnpeSrganError: this process's own limit leaves too little memory for it.
    """
    if not installed(package):
        raise MissingToolError(f"{what} needs the package {pip or package}", hint=f"pip install {pip or package}")
    require_room(package)


# Megabytes of address space below which these libraries crash while they load, in place of saying what they lack.
ROOM = {"openvino": 100, "onnxruntime": 60, "tensorflow": 1500}


THREAD = 160 << 20  # bytes of address space: a stack, and the arena that the C library reserves for each thread


def require_room(package: str) -> None:
    """Raises when this process's own limit (`ulimit -v`) leaves too little for a library; before it is imported."""
    left = _below_own_limit()
    if left and left[0] < ROOM.get(package, 0) << 20 and package not in sys.modules:
        raise SnpeSrganError(
            f"not enough memory to load {package}: the limit leaves {max(0, left[0]) >> 20} MB, it takes "
            f"{ROOM[package]} MB", hint="raise the limit (ulimit -v)",
        )  # fmt: skip


def threads_that_fit(wanted: int) -> int:
    """How many of the threads that are wanted this process's own limit of address space has room for; 0 is none.

    A thread that finds no memory when it begins is waited for without end (Python's `Thread.start`).
    """
    return min([wanted, *(max(0, left) // THREAD for left in _below_own_limit())])


def nearly_full() -> bool:
    """Whether this process has come near its own limit of address space: what fails then fails for want of memory."""
    return any(left < 64 << 20 for left in _below_own_limit())
