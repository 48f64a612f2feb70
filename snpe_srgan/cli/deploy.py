"""snpe-srgan deploy mobile -o bundle
snpe-srgan deploy runs/mobile --target "8 Gen 3" --target SM8750 -o bundle
snpe-srgan deploy srgan --all --calibration photos/ -o bundle
snpe-srgan deploy --check bundle/ --chip "8 Gen 3" --qairt 2.45
snpe-srgan deploy mobile --web -o site
"""

from __future__ import annotations

import click

from snpe_srgan.cli.detail import find_model
from snpe_srgan.cli.ends import ends_options
from snpe_srgan.cli.options import Verb, common, input_size_option, output_option, overwrite_option
from snpe_srgan.cli.toolchain import refuse


@click.command(cls=Verb)
@click.argument("model", metavar="MODEL", required=False)
@click.option(
    "--target", "names", metavar="CHIP", multiple=True,
    help="A chip to compile for: SM8650, '8 Gen 3', a phone; repeatable.  [default: 8 Gen 2 and 3, both 8 Elite]",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="All ten chips that LiteRT compiles for.")
@click.option("--recipe", default="w8a8", help="Bits and steps, as in quantize; 8-bit activations.")
@click.option(
    "--calibration", metavar="IMAGES", multiple=True, default=("sample",),
    help="HR pictures to calibrate on, as in quantize; the first of them is also what the proof shows.",
)  # fmt: skip
@input_size_option()
@click.option("--no-proof", is_flag=True, help="Run nothing on the emulator; the proof then says so for every file.")
@click.option(
    "--check", metavar="BUNDLE", type=click.Path(), help="Report which files of a bundle load on --chip, and stop."
)
@click.option("--chip", metavar="CHIP", help="With --check: the phone's chip.")
@click.option("--qairt", metavar="RELEASE", help="With --check: the QAIRT release of the runtime on the phone, 2.45.")
@click.option("--web", is_flag=True, help="Make a site instead, which enlarges the visitor's own photo in the browser.")
@click.option("--float", "as_float", is_flag=True, help="With --web: keep the float network, do not quantize it.")
@click.option(
    "--onnxruntime-web", "ort_web", metavar="FOLDER", type=click.Path(),
    help="With --web: where the npm package onnxruntime-web is.  [default: node_modules here or above]",
)  # fmt: skip
@ends_options
@output_option("The bundle or site: a new folder.")
@overwrite_option
@common
def command(
    model, names, everything, recipe, calibration, input_size, no_proof, check, chip, qairt, web, as_float, ort_web,
    said, out, overwrite, output,
):  # fmt: skip
    """Make everything that an app on a phone needs from a network, proven on the Hexagon emulator.

    Writes .tflite files with our own scales and with NPU code inside, the Google Play AI pack, ready-compiled .onnx,
    the .dlc, the tile plan with its reference runner, samples, and proof.html. --check exits with 0 if something in
    the bundle loads on the chip's NPU or DSP, otherwise with 1.

    --web writes a folder for any web server: the page computes on the visitor's computer, also offline.
    """
    from snpe_srgan.errors import UsageError

    if check is not None:
        if model is not None:
            raise UsageError("--check looks at a bundle: it takes no MODEL")
        refuse("--check", "names", "everything", "recipe", "calibration", "input_size", "no_proof", "out", "overwrite",
               "web", "as_float", "ort_web")  # fmt: skip
        if chip is None:
            raise UsageError("--check needs the phone's chip", hint="--chip 'Snapdragon 8 Gen 3'")
        return _check(check, chip, qairt, output)
    if chip is not None or qairt is not None:
        raise UsageError("--chip and --qairt go with --check; chips to compile for are --target")
    if model is None:
        raise UsageError("MODEL is missing", hint="snpe-srgan deploy mobile -o bundle")
    if out is None:
        raise UsageError("the bundle needs a folder", hint="-o bundle")
    if web:
        refuse("--web", "names", "everything", "no_proof")
        if as_float:
            refuse("--float", "recipe", "calibration")
        recipe = None if as_float else recipe
        file = find_model(model, None, said=said, output=output)
        return _web(file, out, recipe, calibration, input_size, ort_web, overwrite, output)
    if as_float or ort_web:
        raise UsageError("--float and --onnxruntime-web go with --web")
    if names and everything:
        raise UsageError("--all is every chip: leave out --target")
    from snpe_srgan.deploy.bundle import deploy_model
    from snpe_srgan.toolchains.litert_targets import find_targets

    targets = find_targets(names, everything=everything)
    result = deploy_model(
        find_model(model, None, said=said, output=output), out, targets=targets, recipe=recipe, calibration=calibration,
        input_size=input_size, proof=not no_proof, overwrite=overwrite, say=output.say,
    )  # fmt: skip
    for name, why in result.manifest.failed.items():
        output.warn(f"{name}: the compiler made nothing: {why}")
    output.result(_value(result), text=deploy_text(result))
    bad = [p for p in result.proofs if p.failed or p.reloads is False or p.strip_passed is False]
    if bad or result.manifest.failed:
        for p in bad:
            what = f"it could not be run here: {p.unproven}" if p.failed else "what it draws is wrong"
            output.error([f"{p.path}: {what}", f"  at: {result.folder}/proof.html"])
        raise SystemExit(1)


def _web(model, out, recipe, calibration, input_size, ort_web, overwrite, output) -> None:
    from snpe_srgan.deploy.web import make_site

    result = make_site(
        model, out, recipe=recipe, calibration=calibration, input_size=input_size, ort_web=ort_web,
        overwrite=overwrite, say=output.note,
    )  # fmt: skip
    bits = "draws the bytes of run --engine onnxruntime" if result.integer else "draws what run draws within a level"
    told = f"{out}: {result.network}, {result.recipe or 'float32'}, {result.bytes / 1e6:.1f} MB; {bits}"
    output.result(result, text=[told, f"try it: python3 -m http.server -d {out}    then http://localhost:8000/"])


def _value(result) -> dict:
    proofs = [{k: v for k, v in vars(p).items() if k != "picture"} for p in result.proofs]
    return {
        "folder": result.folder, "manifest": result.manifest, "proofs": proofs, "seconds": result.seconds,
        "exact_tiles": result.exact_tiles,
    }  # fmt: skip


def deploy_text(result) -> list[str]:
    """The bundle for people: one line a file, and what was proven of it."""
    from snpe_srgan.console import table

    rows = []
    for p in result.proofs:
        if p.unproven:
            rows.append((p.path, p.chip or "any", f"{p.bytes:,}", "not proven", "", p.unproven[:60]))
            continue
        reload = {None: "", True: "reloads bit-equal", False: "RELOADS DIFFERENTLY"}[p.reloads]
        rows.append((p.path, p.chip or "any", f"{p.bytes:,}", f"{p.psnr_to_float:.2f}", f"{p.worst}", reload))
    lines = [table(("file", "chip", "bytes", "dB to float", "worst level", "remark"), rows), ""]
    spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items())
    return [*lines, f"{result.folder}: see README.md and proof.html in it ({spent})"]


def _check(folder: str, chip: str, qairt: str | None, output) -> None:
    from snpe_srgan.console import table
    from snpe_srgan.deploy.check import check_bundle

    verdicts = check_bundle(folder, chip=chip, qairt=qairt)
    npu = any(v.npu for v in verdicts)
    rows = [(v.path, v.verdict, "NPU or DSP" if v.npu else "", v.axis or "", v.reason) for v in verdicts]
    output.result(
        {"bundle": folder, "chip": chip, "qairt": qairt, "npu": npu, "artifacts": verdicts},
        text=table(("file", "verdict", "on", "what does not fit", "reason"), rows),
    )
    if not npu:
        output.error([f"nothing in the bundle loads on the NPU or DSP of {chip}", f"  at: {folder}"])
        raise SystemExit(1)
