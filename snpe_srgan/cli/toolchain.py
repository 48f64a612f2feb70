"""The options that choose who writes a .dlc, the same on `convert` and `quantize`, and what they print for the SDK.

--toolchain snpe --sdk /opt/snpe-1.68.0 --dry-run
"""

from __future__ import annotations

import click

from snpe_srgan.cli.sessions import sdk_option


def toolchain_options(function):
    """Adds --toolchain, --sdk, --dry-run and --no-operator-check."""
    for option in (
        click.option(
            "--no-operator-check", is_flag=True,
            help="With --toolchain snpe: skip our operator check and let its converter decide.",
        ),
        click.option("--dry-run", is_flag=True, help="With --toolchain snpe: print the exact commands, run nothing."),
        sdk_option,
        click.option(
            "--toolchain", type=click.Choice(["qnn", "snpe"]), default="qnn",
            help="What writes the .dlc: the package onnxruntime-qnn, or the tools of an SNPE / QAIRT SDK.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def typed(*names: str) -> list[str]:
    """Those of the current command's options (by parameter name) that the user typed, as he types them."""
    context = click.get_current_context()
    options = {parameter.name: parameter.opts[-1] for parameter in context.command.params}
    source = click.core.ParameterSource.COMMANDLINE
    return [options[name] for name in names if name in options and context.get_parameter_source(name) == source]


def refuse(choice: str, *names: str) -> None:
    """`UsageError` when an option was typed for which this choice (`--toolchain snpe`) has no use."""
    from snpe_srgan.errors import UsageError

    if given := typed(*names):
        raise UsageError(f"{', '.join(given)} and {choice} do not go together", hint=f"leave out {given[0]}")


SDK_OPTIONS = ("sdk_folder", "dry_run", "no_operator_check", "overrides", "htp_socs", "hta")


def converted_text(result) -> list[str]:
    """What `convert --toolchain snpe` did, or would do."""
    if result.dlc_bytes is None:
        return [*result.commands, *(f"# {remark}" for remark in result.remarks)]
    height, width = result.input_size
    lines = [f"{result.dlc}: {result.dlc_bytes:,} bytes, input {height}x{width}, by {result.release}"]
    for check in result.checks:
        value = "equal" if check.value is None else f"{check.value:.3g}"
        lines.append(f"  against {check.against}: {value}  ({check.measure})")
    return [*lines, *(f"  {remark}" for remark in result.remarks)]


def quantized_text(result) -> list[str]:
    """What `quantize --toolchain snpe` did, or would do."""
    if result.dlc_bytes is None:
        note = (
            f"# the list names raw files of calibration pictures ({result.calibration}), written before, deleted after"
        )
        return [*result.commands, note]
    lines = [f"{result.dlc}: {result.dlc_bytes:,} bytes, {result.recipe}, by {result.release}"]
    if result.psnr_to_float is not None:
        lines.append(f"  against {result.float_dlc.name}: {result.psnr_to_float:.2f} dB, on a host engine")
    lines.append(f"  calibration: {result.calibration}")
    return [*lines, *(f"  {remark}" for remark in result.remarks)]
