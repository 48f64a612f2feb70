"""A `.dlc` that is put in place only when what is in it has been seen to be right.

checks, rebuilt = write_checked_dlc(model, "generator.dlc", input_size=(128, 128), scale=4, soc=57, against="...")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snpe_srgan.artifacts.card import Check
from snpe_srgan.artifacts.files import write_bytes
from snpe_srgan.artifacts.staging import Scratch
from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.reach import Facts
from snpe_srgan.runtimes.base import first_line
from snpe_srgan.stages.compare import check_decibel, probe_picture, run_onnx
from snpe_srgan.toolchains.socs import Soc

SIZE = (128, 128)  # LR height and width of a .dlc that nothing else is said of
FLOAT_DLC, INTEGER_DLC = 80.0, 40.0  # dB: the same weights in another order of sums; the same integers likewise
CACHE = "KiB of the graph compiled for it: made by Qualcomm's compiler, never run"


def dlc_size(
    wish: tuple[int, int] | None, facts: Facts, *, own: tuple[int, int] | None = None
) -> tuple[int, int]:
    """The LR size of a .dlc, (height, width).

    Args:
        wish: what is asked for; taken as it is.
        facts: of the network: its fixed size, and what a side must be a multiple of.
        own: what the network's file is fixed to, where the graph was freed of it. Without any of these it is SIZE.
    """
    if wish is not None:
        return wish
    height, width = facts.input_size or own or SIZE
    return height + -height % facts.multiple, width + -width % facts.multiple


def write_checked_dlc(
    model,
    path: Path,
    *,
    input_size: tuple[int, int],
    scale: int,
    soc: int | str,
    against: str,
    caches: Sequence[Soc] = (),
    overwrite: bool = False,
) -> tuple[tuple[Check, ...], object]:
    """Writes the ONNX `model` as a `.dlc` of fixed LR size, put in place only when it was seen to be right.

    The file is made elsewhere and read back; the graph in it is compared with `model` on a host engine, and a strip
    of a picture on the emulator with the host.

    Args:
        model: float or QDQ.
        input_size: LR height and width.
        scale: by how much it enlarges.
        soc: the chip that operators are checked for.
        against: what `model` is, for the check.
        caches: chips for which the file gets the graph ready-compiled as well.
        overwrite: whether the file may exist already.

    Returns:
        (the checks, the ONNX graph that was read back).

    Raises:
        InputError: the model does not run at this size, or the file exists and may not.
        CheckFailed: the file does not compute what the model does.
        MissingToolError: Qualcomm's libraries are not installed.
    """
    from snpe_srgan.dlc.reader import read
    from snpe_srgan.dlc.to_onnx import rebuild
    from snpe_srgan.onnx_graphs.model import fix_size
    from snpe_srgan.onnx_graphs.model import input_size as model_size
    from snpe_srgan.onnx_graphs.quantized import is_quantized
    from snpe_srgan.runtimes.strip import check_strip
    from snpe_srgan.toolchains import qnn

    fixed = fix_size(model, (input_size[0], input_size[1]), where=path)
    lr = probe_picture(*input_size)
    try:
        expected = run_onnx(fixed, lr)
    except Exception as error:  # ONNX Runtime's share no base but Exception
        own = model_size(model)
        hint = None if own in (None, input_size) else "its graph holds its size: --input-size {}x{}".format(*own)
        what = f"the model does not run at {input_size[0]}x{input_size[1]}: {first_line(error)}"
        raise InputError(what, where=path, hint=hint) from error
    quantized = is_quantized(model)
    size_of = "{} at {}x{}".format(path.name, *input_size)  # what errors speak of: the files below are temporary
    with Scratch() as folder:
        onnx_path, dlc_path = Path(folder) / "fixed.onnx", Path(folder) / path.name
        onnx_path.write_bytes(fixed.SerializeToString())
        qnn.write_dlc(onnx_path, dlc_path, soc_model=soc, name=size_of)
        rebuilt = rebuild(read(dlc_path))
        same = check_decibel(
            run_onnx(rebuilt, lr),
            expected,
            least=INTEGER_DLC if quantized else FLOAT_DLC,
            against=against,
            where=path,
        )
        strip = check_strip(model, width=input_size[1], scale=scale, soc=soc, where=path)
        compiled: tuple[Check, ...] = ()
        if caches:
            from snpe_srgan.toolchains.qnn_caches import add_caches

            added = add_caches(onnx_path, dlc_path, caches, name=size_of)
            compiled = tuple(Check(c.chip, CACHE, c.bytes / 1024) for c in added)
        write_bytes(path, dlc_path.read_bytes(), overwrite=overwrite)
    return (same, strip, *compiled), rebuilt
