"""snpe-srgan doctor
snpe-srgan doctor --gpu               # which GPUs TensorFlow sees, or why none
snpe-srgan doctor --require dlc       # exit code 3 when this machine cannot write a .dlc
"""

from __future__ import annotations

import click

from snpe_srgan.cli.options import Verb, common


@click.command(cls=Verb)
@click.option(
    "--require",
    "required",
    multiple=True,
    metavar="ABILITY",
    help="Exit with 3 unless this can be done here: train, run, freeze, dlc, emulator, sdk, device.",
)
@click.option(
    "--gpu", is_flag=True, help="Start TensorFlow and report which GPUs it sees, or why it sees none (10 seconds)."
)
@common
def command(required, gpu, output):
    """Show what this machine can do, and what to install for the rest."""
    from snpe_srgan.errors import MissingToolError, UsageError, did_you_mean
    from snpe_srgan.stages.doctor import ABILITIES, examine

    for name in required:
        if name not in ABILITIES:
            raise UsageError(f"unknown ability '{name}'", where="--require", hint=did_you_mean(name, ABILITIES))
    findings, abilities = examine(ask_tensorflow=gpu)
    lacking = [a for a in abilities if a.name in required and not a.ok]
    output.result({"findings": findings, "abilities": abilities}, text=_text(findings, abilities))
    if lacking:
        install = [f.install for f in findings if f.install and any(f.name in a.missing for a in lacking)]
        error = MissingToolError(
            "this machine lacks what is needed for: " + ", ".join(a.name for a in lacking),
            where=", ".join(dict.fromkeys(m for a in lacking for m in a.missing)),
            hint="; ".join(install) or "snpe-srgan doctor",
        )
        output.error(error.lines())
        raise SystemExit(error.exit_code)


def _text(findings, abilities) -> list[str]:
    marks = {True: "ok", False: "missing", None: ""}
    width = max(len(f.name) for f in findings)
    lines, topic = [], None
    for f in findings:
        if f.topic != topic:
            lines += ["", f.topic] if topic else [f.topic]
            topic = f.topic
        line = f"  {marks[f.ok]:8} {f.name:{width}}  {f.found}"
        if f.unlocks:
            line += f"  (for: {f.unlocks})"
        lines.append(line)
        if f.install:
            lines.append(f"  {'':8} {'':{width}}  -> {f.install}")
    can = [a.name for a in abilities if a.ok]
    cannot = [f"{a.name} ({', '.join(a.missing)})" for a in abilities if not a.ok]
    lines += ["", "can: " + ", ".join(can)]
    return [*lines, "cannot: " + ", ".join(cannot)] if cannot else lines
