"""snpe-srgan: train super-resolution networks and put them on Snapdragon chips as `.dlc` files.

The functions named in `__all__` are the public API (docs/api.md); `api.py` is loaded with the first of them that is
used.
"""

from snpe_srgan.offline import switch_telemetry_off

__version__ = "0.1.0"
__all__ = [
    "compress",
    "convert",
    "evaluate",
    "import_model",
    "open_session",
    "quantize",
    "read_picture",
    "train",
    "upscale",
    "write_picture",
]

switch_telemetry_off()


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
