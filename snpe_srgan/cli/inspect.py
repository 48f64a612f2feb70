"""snpe-srgan inspect generator.npz
snpe-srgan inspect --models                                # the networks that have a name
snpe-srgan inspect generator_w8a8.dlc --layers
snpe-srgan inspect generator.dlc generator_w8a8.dlc        # what differs
snpe-srgan inspect generator_w8a8.dlc --to-onnx rebuilt.onnx
snpe-srgan inspect generator_w8a8.dlc --on emulator        # where host and chip part, layer by layer
snpe-srgan inspect good.onnx bad.onnx --on host            # which layer of the second is wrong
"""

from __future__ import annotations

import click

from snpe_srgan.cli.detail import find_model
from snpe_srgan.cli.ends import ends_options
from snpe_srgan.cli.options import Size, Verb, common, output_option, overwrite_option
from snpe_srgan.console import table


@click.command(cls=Verb)
@click.argument("model", metavar="MODEL", required=False)
@click.argument("other", metavar="[OTHER]", required=False)
@click.option("--models", is_flag=True, help="List the networks that MODEL may name, here and everywhere.")
@click.option("--layers", is_flag=True, help="List every layer, or every difference.")
@click.option("--to-onnx", type=click.Path(), metavar="OUT", help="Write the graph that a .dlc holds as .onnx.")
@click.option(
    "--on", type=click.Choice(["host", "emulator"]),
    help="Run it: MODEL on the host beside OTHER (or MODEL itself) here, layer by layer on one picture, and name the "
    "first layer that departs, how far, and the likely cause. Takes .onnx, .dlc and .npz.",
)  # fmt: skip
@click.option("--picture", type=click.Path(), metavar="LR", help="With --on: an LR picture, of which the centre is "
              "taken.  [default: one that is drawn]")  # fmt: skip
@click.option("--input-size", type=Size(of_input=True), help="With --on: LR height x width.  [default: 32x32]")
@click.option("--chip", help="With --on emulator: the chip it computes as, or none for float32.  [default: SM8650]")
@output_option("With --on: folder for MODEL.divergence.json, .png and .pictures.png.")
@ends_options
@overwrite_option
@common
def command(model, other, models, layers, to_onnx, on, picture, input_size, chip, out, said, overwrite, output):
    """Show what is inside a .npz, .pb, .onnx, .dlc or .tflite file, how two .dlc files differ, or where two runs part.

    A .dlc may come from any generation of the SDK: SNPE 1.x, SNPE 2 or QAIRT.
    """
    from snpe_srgan.errors import UsageError
    from snpe_srgan.stages.inspection import inspect_model
    from snpe_srgan.zoo.resolve import resolve

    given = {"--picture": picture, "--input-size": input_size, "--chip": chip, "--output": out}
    if on is None and (named := [option for option, value in given.items() if value is not None]):
        raise UsageError(f"{named[0]} goes with --on", hint="--on emulator")
    if models:
        if model or layers or to_onnx or on:
            raise UsageError("--models lists all networks that have a name: it takes no MODEL and no other option")
        return _list(output)
    if model is None:
        raise UsageError("MODEL is missing", hint="snpe-srgan inspect --models  (the networks that have a name)")
    file = find_model(model, None, runs=True, said=said, output=output)
    if on is not None:
        if to_onnx:
            raise UsageError("--to-onnx and --on exclude each other")
        second = None if other is None else find_model(other, None, runs=True, said=said, output=output)
        return _diverge(file, second, on, picture, input_size, chip, out, layers, overwrite, output)
    if to_onnx and file.kind != "dlc":
        raise UsageError("--to-onnx takes the graph out of a .dlc", hint=f"snpe-srgan convert {file.path} --onnx-only")
    if other:
        if file.kind != "dlc" or to_onnx:
            raise UsageError("two files are compared when both are .dlc, and without --to-onnx",
                             hint="--on host runs any two files beside each other")  # fmt: skip
        return _compare(file, resolve(other, kinds=("dlc",)), layers, output)
    report = inspect_model(file)
    text = _text(report, layers)
    if to_onnx:
        text.append(f"{_write_onnx(file.path, to_onnx, overwrite)}: the graph of {file.path.name}")
    output.result(report, text=text)


def _diverge(file, other, on, picture, size, chip, out, layers: bool, overwrite: bool, output) -> None:
    from snpe_srgan.artifacts.files import refuse_overwrite
    from snpe_srgan.cli.divergence_text import divergence_text
    from snpe_srgan.errors import UsageError
    from snpe_srgan.stages.diverge import DivergeOptions, diverge_files, divergence_paths, summary, write_divergence

    if chip is not None and on != "emulator":
        raise UsageError("--chip goes with --on emulator")
    for path in divergence_paths(out, file.stem) if out else ():
        refuse_overwrite(path, overwrite)
    chosen = {"on": on, "picture": picture, "size": size, "chip": chip}
    options = DivergeOptions(**{key: value for key, value in chosen.items() if value is not None})
    found = diverge_files(file, other, options, say=output.note)
    paths = write_divergence(found, out, stem=file.stem, overwrite=overwrite) if out else []
    text = [*divergence_text(found.report, everything=layers), *(f"{path}" for path in paths)]
    output.result({**summary(found.report), "files": [str(path) for path in paths]}, text=text)


def _list(output) -> None:
    from snpe_srgan.zoo.named import list_named

    found = list_named()
    header = ("name", "parameters", "bytes", "Set5 dB", "Set14 dB", "licence", "from")
    rows = [
        (
            m.name, f"{m.parameters:,}" if m.parameters else "", f"{m.bytes:,}" if m.bytes else "",
            *(f"{m.psnr[s]:.2f}" if s in m.psnr else "" for s in ("Set5", "Set14")), m.licence, m.origin,
        )
        for m in found
    ]  # fmt: skip
    output.result(
        {"models": found}, text=[table(header, rows), "", "PSNR on Y, as the cards have it; all enlarge by 4"]
    )


def _compare(file, other, everything: bool, output) -> None:
    from snpe_srgan.cli.comparison_text import comparison_text
    from snpe_srgan.dlc.compare import compare
    from snpe_srgan.dlc.reader import read

    result = compare(read(file.path), read(other.path))
    output.result(result, text=comparison_text(result, everything=everything))


def _write_onnx(path, out, overwrite: bool):
    from snpe_srgan.artifacts.files import write_bytes
    from snpe_srgan.dlc.reader import read
    from snpe_srgan.dlc.to_onnx import rebuild

    return write_bytes(out, rebuild(read(path)).SerializeToString(), overwrite=overwrite)


def _text(report, layers: bool) -> list[str]:
    rows = [
        ("file", f"{report.path.name}, {report.bytes:,} bytes"),
        ("network", report.network + (f" x{report.scale}" if report.scale else "")),
        ("parameters", f"{report.parameters:,}"),
    ]
    if report.macs_per_lr_pixel is not None:
        rows.append(("multiply-accumulates", f"{report.macs_per_lr_pixel:,.0f} a LR pixel"))
    if report.receptive_radius is not None:
        rows.append(("receptive radius", f"{report.receptive_radius} LR pixels"))
    for what, ports in (("input", report.inputs), ("output", report.outputs)):
        rows += [(what, _port(port)) for port in ports]
    rows.append(("operators", ", ".join(f"{count} {kind}" for kind, count in report.operators.items())))
    for key, value in report.facts.items():
        if isinstance(value, list):
            rows += [(key.removesuffix("s"), _shortened(str(item))) for item in value]
        elif value not in ("", {}, None):
            rows.append((key.replace("_", " "), _plain(value)))
    if report.card is not None:
        rows += [(f"card: {key}", _plain(value)) for key, value in _card(report.card) if value]
    rows += [("on a DSP", note) for note in report.dsp_notes]
    if report.remark:
        rows.append(("remark", report.remark))
    width = max(len(key) for key, _ in rows)
    lines = [f"{key:<{width}}  {value}" for key, value in rows]
    if layers:
        cells = [
            (row.name, row.kind, row.detail, f"{row.parameters:,}" if row.parameters else "") for row in report.layers
        ]
        lines += ["", table(("layer", "kind", "", "parameters"), cells)]
    return lines


def _port(port) -> str:
    shape = "x".join("?" if n is None else str(n) for n in port.shape)
    encoding = f", {port.encoding.low:.4g} .. {port.encoding.high:.4g}" if port.encoding else ""
    return " ".join(filter(None, (port.name, shape, port.dtype))) + encoding


def _shortened(text: str, length: int = 400) -> str:
    """A converter's command can fill a page; --json has it whole."""
    return text if len(text) <= length else text[:length] + " ..."


def _card(card):
    """What the card tells that the file does not."""
    yield "made from", card.source.get("artifact")
    yield "training", card.training
    yield "quantization", card.quantization.get("name")
    for check in card.checks:
        value = "equal" if check.value is None else f"{check.value:.3g}"
        yield "check", f"against {check.against}: {value} ({check.measure})"
    for metric in card.metrics:
        yield "score", f"{metric.dataset}: {metric.psnr} dB ({metric.protocol})"


def _plain(value) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return ", ".join(f"{k} {_plain(v)}" for k, v in value.items()) if hasattr(value, "items") else str(value)
