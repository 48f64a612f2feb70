"""`proof.json` and `proof.html`: the same facts, for programs and for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snpe_srgan.artifacts.files import write_json
from snpe_srgan.artifacts.plain import to_plain
from snpe_srgan.deploy.ep_context import OperatorTrace
from snpe_srgan.deploy.manifest import Manifest
from snpe_srgan.deploy.proof import Judge, Proof
from snpe_srgan.deploy.render import png_url, write_page
from snpe_srgan.toolchains.qnn import CostEstimate

REFERENCE = "the float network on this computer"
LIMITS = (
    "Nothing here was run on a phone. The emulator computes what the NPU would; time, heat and memory are not shown.",
    "A file for several chips loads on none of the emulators here; its parts are compiled from the same graph.",
    "The caches in the .dlc were made by Qualcomm's compiler and never run; the .dlc's own graph was.",
    "Whether a phone's runtime is new enough for the NPU code (see QAIRT above) is the phone's affair: deploy --check.",
    "The AI pack was never given to Google Play; its models are the files above.",
    "The samples for Kotlin, C++ and adb were never built or run.",
)


def write_proof(
    folder: Path, *, manifest: Manifest, proofs: Sequence[Proof], judge: Judge, estimate: CostEstimate | None,
    no_estimate: str | None, trace: OperatorTrace | None,
) -> None:  # fmt: skip
    """Writes both files into the bundle.

    Args:
        folder: the bundle's.
        judge: the picture on which the files were held against the float network.
        estimate: of Qualcomm's cost model; None where `no_estimate` says why there is none.
        trace: which operators the NPU took when the .onnx files were compiled; None where none was.
    """
    facts: dict[str, object] = {
        "origin": judge.origin,
        "reference": REFERENCE,
        "estimate": estimate,
        "no_estimate": no_estimate,
        "trace": trace,
        "limits": LIMITS,
    }
    rows = [{k: v for k, v in vars(proof).items() if k != "picture"} for proof in proofs]
    write_json(folder / "proof.json", {"schema_version": 1, "proofs": to_plain(rows), **_plain(facts)})
    pictures = {name: png_url(pixels) for name, pixels in (("lr", judge.lr), ("exact", judge.exact))}
    facts["drawings"] = _drawings(proofs)
    write_page(folder, manifest=manifest, proofs=proofs, pictures=pictures, facts=facts)


def _drawings(proofs: Sequence[Proof]) -> list[tuple[str, list[Proof]]]:
    """Each different picture once, and the files that drew it."""
    groups: dict[bytes, list[Proof]] = {}
    for proof in proofs:
        if proof.picture is not None:
            groups.setdefault(proof.picture.tobytes(), []).append(proof)
    return [(png_url(drawn[0].picture), drawn) for drawn in groups.values() if drawn[0].picture is not None]


def _plain(facts: dict[str, object]) -> dict:
    plain = to_plain(facts)
    return plain if isinstance(plain, dict) else {}
