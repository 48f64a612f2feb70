"""What `import snpe_srgan` offers: the work of the commands as functions that print nothing.

They raise what `errors.py` names (`SnpeSrganError` and its kinds), with what failed, where, and a hint. MODEL is what a
command takes: a shipped model's name, a run folder, or a model file. TensorFlow is loaded by `train`, `compress`,
`convert` and `import_model` where they need it, and never by `open_session` and `upscale` on a host engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snpe_srgan.artifacts.card import Card
    from snpe_srgan.config import Config
    from snpe_srgan.imaging.picture import Picture
    from snpe_srgan.metrics.evaluate import Evaluation
    from snpe_srgan.runtimes.session import Session
    from snpe_srgan.stages.compress import CompressOptions, CompressResult
    from snpe_srgan.stages.convert import ConvertResult
    from snpe_srgan.stages.quantize import QuantizeOptions, QuantizeResult
    from snpe_srgan.training.run import TrainResult

PathLike = str | os.PathLike[str]


def open_session(
    model: PathLike, *, on: str = "host", engine: str = "auto", threads: int | None = None, precision: str = "f32"
) -> Session:
    """Opens a model for `upscale` and `evaluate`. It is a context manager: leaving it frees the engine.

    Args:
        model: a shipped model's name ('mobile'), a run folder, or an .npz, .pb, .onnx, .dlc or .tflite file.
        on: 'host' (this machine's CPU) or 'emulator' (the Hexagon emulator: exact, slow).
        engine: of the host: 'auto', 'openvino' or 'onnxruntime'.
        threads: of the host engine; None for all processors that this process may use.
        precision: 'f32', 'bf16' (OpenVINO only), or 'auto': bf16 for 8-bit pictures on which a probe shows no more
            than one level of difference.

    Raises:
        InputError: there is no such model, or it cannot be run.
        MissingToolError: the engine is not installed.
    """
    from snpe_srgan.runtimes.open import open_session
    from snpe_srgan.zoo.resolve import RUNNABLE, resolve

    file = resolve(model, kinds=RUNNABLE)
    return open_session(file, on=on, engine=engine, threads=threads, precision=precision)


def upscale(session: Session, picture: Picture, *, tile: tuple[int, int] | None = None) -> Picture:
    """Enlarges a picture by the session's scale; grey stays grey, 16 bits stay 16, alpha and metadata are kept.

    Args:
        picture: of `read_picture`, or `Picture(rgb)` of a uint8 or uint16 array (h, w, 3).
        tile: (height, width) of tiles in LR pixels; None decides by the model and the free memory.

    Returns:
        The picture; its `remarks` say so where tiles make it near the whole picture's result and not equal to it.

    Raises:
        InputError: there is too little memory for the result.
        SnpeSrganError: a tile failed, or gave numbers that are not finite.
    """
    from dataclasses import replace

    from snpe_srgan.runtimes.upscale import upscale_picture

    enlarged, plan = upscale_picture(session, picture, tile=tile)
    if plan.reason is None:
        return enlarged
    return replace(enlarged, remarks=(*enlarged.remarks, f"near the whole picture's result, not equal: {plan.reason}"))


def read_picture(path: PathLike) -> Picture:
    """Reads a picture of any kind the commands read, turned as its EXIF data say.

    Raises:
        InputError: it is missing, damaged or too large.
    """
    from pathlib import Path

    from snpe_srgan.imaging.pictures import read_picture

    return read_picture(Path(path))


def write_picture(
    path: PathLike, picture: Picture, *, overwrite: bool = False, quality: int | None = None
) -> tuple[str, ...]:
    """Writes a picture, whole or not at all, in the format of the path's suffix.

    Args:
        quality: 1 to 100 for JPEG (95 when None) and WebP (lossless when None).

    Returns:
        What the format could not keep, one sentence each.

    Raises:
        InputError: the file exists and `overwrite` is False, or it cannot be written.
    """
    from pathlib import Path

    from snpe_srgan.imaging.writing import write_picture

    return write_picture(Path(path), picture, overwrite=overwrite, quality=quality)


def evaluate(session: Session, pictures: PathLike, *, limit: int | None = None) -> Evaluation:
    """PSNR and SSIM of a model against bicubic, by the paper's protocol (Y, a border of `scale` pixels cut off).

    Args:
        pictures: a folder with HR (LR is made by MATLAB's bicubic) or with HR beside LR, a glob, or a file.
        limit: only the first so many pictures.

    Raises:
        InputError: there are no such pictures, or they do not fit the model's scale.
    """
    from snpe_srgan.metrics.dataset import find_evaluation_set
    from snpe_srgan.metrics.evaluate import evaluate

    return evaluate(session, find_evaluation_set(pictures, scale=session.scale), limit=limit)


def train(
    config: PathLike | Config | None, run_dir: PathLike, *, overrides: Iterable[str] = (), resume: bool = False,
    overwrite: bool = False,
) -> TrainResult:  # fmt: skip
    """Trains the stages of a config into a run folder.

    Args:
        config: a YAML file, a loaded config, or None for the defaults.
        overrides: `KEY=VALUE` with dotted keys, for a file.
        resume: goes on with the run in `run_dir`.
        overwrite: removes the run in `run_dir` first.

    Raises:
        UsageError: a key that no config has, or overrides of a loaded config.
        InputError: pictures or weights that cannot be used.
    """
    from snpe_srgan.config import Config, load_config
    from snpe_srgan.errors import UsageError
    from snpe_srgan.quiet import import_tensorflow

    changes = tuple(overrides)
    if isinstance(config, Config):
        if changes:
            raise UsageError("overrides are for a config file: change the loaded config instead")
        loaded = config
    else:
        loaded = load_config(config, changes)
    import_tensorflow()
    from snpe_srgan.training.run import train

    return train(loaded, run_dir, resume=resume, overwrite=overwrite)


def convert(
    model: PathLike, out_dir: PathLike, *, input_size: tuple[int, int] | None = None, onnx_only: bool = False,
    overwrite: bool = False,
) -> ConvertResult:  # fmt: skip
    """Writes a float model as .onnx (any input size) and .dlc.

    Args:
        model: a shipped model's name, a run folder, or a model file.
        out_dir: where the files go; made where it is missing.
        input_size: LR height and width of the .dlc; None for what the model is fixed to, else 128x128.
        onnx_only: leaves the .dlc out.
        overwrite: whether the files may exist already.

    Raises:
        InputError: the model cannot be read, or a file exists and may not.
        CheckFailed: a file does not compute what the model does.
        MissingToolError: the .dlc needs Qualcomm's libraries, and they are not installed.
    """
    from snpe_srgan.stages.convert import convert_model

    return convert_model(model, out_dir, input_size=input_size, onnx_only=onnx_only, overwrite=overwrite)


def quantize(model: PathLike, out_dir: PathLike, options: QuantizeOptions | None = None) -> QuantizeResult:
    """Writes a float model quantized, as .onnx and .dlc, with the report of what it costs in dB.

    Args:
        options: `snpe_srgan.stages.quantize.QuantizeOptions`: the recipe, calibration pictures, input size.

    Raises:
        CheckFailed: the .dlc does not compute what the .onnx does; nothing is left behind.
    """
    from snpe_srgan.stages.quantize import quantize_model

    return quantize_model(model, out_dir, options)


def compress(model: PathLike, out_dir: PathLike, options: CompressOptions | None = None) -> CompressResult:
    """Writes a smaller network, by spatial SVD, channel pruning and fewer blocks.

    Args:
        options: `snpe_srgan.stages.compress.CompressOptions`: the target or the shares, pictures, fine-tuning.
    """
    from snpe_srgan.stages.compress import compress_model

    return compress_model(model, out_dir, options)


def import_model(source: PathLike, out: PathLike, *, overwrite: bool = False) -> Card:
    """Reads foreign weights (.pth, .safetensors, .h5, .npz) into an .npz, or a foreign graph into an .onnx.

    Args:
        out: the .npz or .onnx to write; its card is written beside it.
        overwrite: whether the files may exist already.

    Returns:
        The new file's card: architecture, scale, parameters, origin.

    Raises:
        InputError: no known architecture, or a file that is damaged or unsafe to read.
    """
    from snpe_srgan.zoo.foreign import import_model
    from snpe_srgan.zoo.foreign_graph import import_graph, is_graph

    if is_graph(source, out):
        return import_graph(source, out, overwrite=overwrite)[0]
    return import_model(source, out, overwrite=overwrite)
