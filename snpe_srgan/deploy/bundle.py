"""The stage deploy: a float model in, a folder out that an app developer can take.

result = deploy_model(resolve("mobile"), "bundle", targets=find_targets(["8 Gen 3"]))
result.proofs, result.manifest

The folder is made aside and gets its name when all of it is there: a run that is killed leaves nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.card import source_of, version_of
from snpe_srgan.artifacts.files import atomic_folder, make_folder, refuse_folder, require_writable, sha256
from snpe_srgan.calibration.crops import Pictures
from snpe_srgan.deploy.ep_context import ContextFile, OperatorTrace, compile_onnx
from snpe_srgan.deploy.make_tflite import make_tflite
from snpe_srgan.deploy.manifest import (
    AI_PACK,
    CONTEXT,
    DLC,
    NAME,
    NPU_TFLITE,
    ONNX,
    TFLITE,
    Artifact,
    Manifest,
    Port,
    write_manifest,
)
from snpe_srgan.deploy.proof import Job, Judge, Proof, prove
from snpe_srgan.deploy.render import environment, write_samples
from snpe_srgan.deploy.source import Quantized, judge_picture, quantize, refuse_early
from snpe_srgan.deploy.tiles import TileRule, make_rule, write_tiles
from snpe_srgan.errors import InputError
from snpe_srgan.imaging.colour import pixels_to_lr, sr_to_pixels
from snpe_srgan.machine import usable_threads
from snpe_srgan.stages.checked_dlc import dlc_size
from snpe_srgan.toolchains import litert, qnn
from snpe_srgan.toolchains.litert_targets import Target
from snpe_srgan.toolchains.socs import Soc
from snpe_srgan.zoo.resolve import ModelFile

PACK_MODEL = "{}_model"
TOOLS = ("ai-edge-litert", "onnxruntime", "onnxruntime-qnn", "onnx")
SEVERAL = "a file for several chips: the emulator loads none of them"
NOT_ASKED = "the proof was left out (--no-proof)"


@dataclass(frozen=True, eq=False)
class DeployResult:
    """`seconds`: what each part took."""

    folder: Path
    manifest: Manifest
    proofs: tuple[Proof, ...]
    trace: OperatorTrace | None
    seconds: dict[str, float]
    exact_tiles: bool


def deploy_model(
    file: ModelFile,
    out: str | Path,
    *,
    targets: Sequence[Target],
    recipe: str = "w8a8",
    calibration: Sequence[Pictures] = ("sample",),
    count: int | None = None,
    input_size: tuple[int, int] | None = None,
    proof: bool = True,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> DeployResult:
    """Makes the bundle `out`.

    Args:
        file: a float model.
        targets: the chips to compile for.
        calibration, count: as of `QuantizeOptions`.
        input_size: LR (height, width) of every file; None for what the model is fixed to, else 128x128.
        proof: whether to run every file on the emulator.

    Raises:
        UsageError, InputError: what cannot be deployed, named before anything slow is done.
        MissingToolError: ai-edge-litert or onnxruntime-qnn is not installed.
    """
    litert.require()
    qnn.require()
    environment()
    refuse_folder(out, overwrite, mark=NAME)
    require_writable(Path(out).absolute().parent)
    facts = refuse_early(file, recipe, input_size)
    input_size = dlc_size(input_size, facts)
    with atomic_folder(out, overwrite=overwrite, mark=NAME) as folder:
        maker = _Maker(folder, targets, input_size, say)
        scratch = make_folder(folder / ".work")
        with maker.timed("quantize"):
            source = quantize(
                file, scratch, recipe=recipe, calibration=calibration, count=count, input_size=input_size,
                caches=maker.socs, facts=facts, say=say,
            )  # fmt: skip
        maker.make(source, file, calibration, proof)
        _remove(scratch)
    return DeployResult(Path(out), maker.manifest, maker.proofs, maker.trace, maker.seconds, maker.rule.exact)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)


class _Maker:
    """The parts of one bundle, in the order in which they are made."""

    def __init__(
        self, folder: Path, targets: Sequence[Target], input_size: tuple[int, int], say: Callable[[str], None]
    ):
        self.folder, self.targets, self.size, self.say = folder, tuple(targets), input_size, say
        self.socs = tuple(t.soc for t in targets if t.soc is not None)
        self.artifacts: list[Artifact] = []
        self.jobs: list[Job] = []
        self.seconds: dict[str, float] = {}
        self.failed: dict[str, str] = {}
        self.trace: OperatorTrace | None = None
        self.proofs: tuple[Proof, ...] = ()

    def timed(self, name: str):
        return _Clock(self.seconds, name)

    def make(self, source: Quantized, file: ModelFile, calibration: Sequence[Pictures], proof: bool) -> None:
        self.source, self.scale, self.wanted = source, source.facts.scale, proof
        self.rule = self._rule()
        self.fixed_path = self.folder / ".work" / "fixed.onnx"
        self.fixed_path.write_bytes(source.fixed.SerializeToString())
        with self.timed("the float network's picture"):
            self.judge = self._judge(calibration)
        with self.timed("tflite and NPU code"):
            self._tflite()
        with self.timed("ready-compiled .onnx"):
            self._onnx()
        self._dlc()
        self.manifest = Manifest(
            network=source.network, recipe=source.recipe, scale=self.scale, input_size=self.size,
            receptive_radius=source.facts.overlap, source=source_of(file.path), artifacts=tuple(self.artifacts),
            tools={name: version_of(name) for name in TOOLS}, failed=self.failed,
        )  # fmt: skip
        with self.timed("proof"):
            self._proof()
        write_manifest(self.folder, self.manifest)
        write_tiles(self.folder, self.rule)
        write_samples(self.folder, self.manifest)

    # -- what every file says of itself ---------------------------------------------------------------------------

    def _rule(self) -> TileRule:
        files = {
            "tflite/*.tflite": self._ends("uint8"),
            "tflite/*_float32.tflite": self._ends("float32"),
            "onnx/*.onnx": self._ends("onnx"),
        }
        return make_rule(self.source.name, self.source.facts, self.size, files, say=self.say)

    def _ports(self, kind: str) -> tuple[Port, Port]:
        (height, width), scale, facts = self.size, self.scale, self.source.facts
        lr, sr = (1, height, width, 3), (1, height * scale, width * scale, 3)
        if kind == "uint8":
            return Port("lr", lr, "uint8", 0, 255), Port("sr", sr, "uint8", 0, 255)
        if kind == "float32":
            return Port("lr", lr, "float32", 0, 1), Port("sr", sr, "float32", 0, 1)
        return Port(facts.input_name, lr, "float32", 0, 1), Port(facts.output_name, sr, "float32", -1, 1)

    def _ends(self, kind: str) -> dict[str, dict]:
        def plain(port: Port) -> dict:
            return {"name": port.name, "shape": list(port.shape), "type": port.type, "black": port.black,
                    "white": port.white}  # fmt: skip

        lr, sr = self._ports(kind)
        return {"input": plain(lr), "output": plain(sr)}

    def _metadata(self) -> dict[str, object]:
        facts = self.source.facts
        return {
            "network": self.source.network, "recipe": self.source.recipe, "scale": self.scale,
            "receptive_radius": facts.overlap, "reads_whole_picture": facts.whole,
        }  # fmt: skip

    def _add(self, path: Path, kind: str, runtime: str, ends: str, **more) -> None:
        lr, sr = self._ports(ends)
        name = path.relative_to(self.folder).as_posix()
        self.artifacts.append(Artifact(name, kind, runtime, path.stat().st_size, sha256(path), lr, sr, **more))

    # -- the files -------------------------------------------------------------------------------------------------

    def _tflite(self) -> None:
        from snpe_srgan.tflite.read import read_tflite

        name, folder = self.source.name, make_folder(self.folder / "tflite")
        written = make_tflite(self.source.fixed, metadata=self._metadata(), where=name)
        plain = folder / f"{name}.tflite"
        for borders, data, path in (
            ("uint8", written["uint8"], plain),
            ("float32", written["float32"], folder / f"{name}_float32.tflite"),
        ):
            path.write_bytes(data)
            self._add(path, TFLITE, "LiteRT", borders)
            self.jobs.append(Job(path, None, "host"))
        npu = make_folder(folder / "npu")
        outputs = {target: npu / f"{name}_{target.name}.tflite" for target in self.targets}
        model = PACK_MODEL.format(name.replace("-", "_"))
        pack = litert.AiPack(self.folder / "ai_pack", "sr", model)
        made = litert.compile_models(plain, outputs, pack=pack, say=self.say)
        self.failed.update(made.failed)
        for compiled in made.made:
            code = read_tflite(compiled.path).codes
            told = code[0].facts if code else None
            self._add(
                compiled.path, NPU_TFLITE, "LiteRT with Qualcomm's dispatch library", "uint8",
                chips=(compiled.target.name,), hexagon={compiled.target.name: compiled.target.hexagon},
                qairt=None if told is None else told.qairt, offloaded=compiled.offloaded,
                operators=compiled.operators,
            )  # fmt: skip
            self.jobs.append(Job(compiled.path, compiled.target.name, "emulator"))
        if not made.made:
            why = "; ".join(f"{chip}: {reason}" for chip, reason in made.failed.items())
            raise InputError(f"LiteRT's compiler made NPU code for none of the chips: {why}", where=name)
        self._pack(pack.folder, {c.target.name: c for c in made.made})

    def _pack(self, folder: Path, made: dict[str, litert.Compiled]) -> None:
        by_path = {a.path: a for a in self.artifacts}
        for path in sorted(folder.rglob("*.tflite")):
            chip = next((name for name in made if path.parent.name.endswith(f"_{name}")), None)
            if chip is None:
                self._add(path, AI_PACK, "LiteRT, by Google Play", "uint8")
                continue
            same = by_path[made[chip].path.relative_to(self.folder).as_posix()]
            self._add(path, AI_PACK, "LiteRT, by Google Play", "uint8", chips=(chip,), hexagon=same.hexagon,
                      qairt=same.qairt, offloaded=same.offloaded, operators=same.operators)  # fmt: skip

    def _onnx(self) -> None:
        name, folder = self.source.name, make_folder(self.folder / "onnx")
        metadata = {"network": self.source.network, "scale": str(self.scale)}
        if self.source.facts.overlap is not None:
            metadata["receptive_radius"] = str(self.source.facts.overlap)
        if self.source.facts.whole:
            metadata["reads_whole_picture"] = self.source.facts.whole
        plain = folder / f"{name}.onnx"
        plain.write_bytes(self.fixed_path.read_bytes())
        self._add(plain, ONNX, "ONNX Runtime", "onnx")
        parts: list[tuple[tuple[Soc, ...], str]] = [((soc,), f"{name}_{soc.name}_ctx.onnx") for soc in self.socs]
        if len(self.socs) > 1:
            parts.append((self.socs, f"{name}_several_ctx.onnx"))

        def compiled(part: tuple[tuple[Soc, ...], str]) -> ContextFile:
            socs, file_name = part
            made = compile_onnx(
                self.fixed_path, folder / file_name, socs, metadata=metadata,
                probe=pixels_to_lr(self.judge.lr)[None] if self.wanted and len(socs) == 1 else None,
            )  # fmt: skip
            self.say(f"{file_name}: compiled for {', '.join(soc.name for soc in socs)}")
            return made

        with ThreadPoolExecutor(max(1, min(usable_threads(), len(parts)))) as pool:
            made = tuple(pool.map(compiled, parts))
        for context in made:
            self._add_context(context)
        self.trace = made[0].trace if made else None

    def _add_context(self, made: ContextFile) -> None:
        import onnx

        from snpe_srgan.onnx_graphs.compiled import code_facts

        chips = tuple(soc.name for soc in made.socs)
        self._add(made.path, CONTEXT, "ONNX Runtime with its QNN provider", "onnx", chips=chips,
                  hexagon={soc.name: soc.hexagon for soc in made.socs},
                  qairt=code_facts(onnx.load(str(made.path))).qairt)  # fmt: skip
        several = SEVERAL if len(chips) > 1 else None
        self.jobs.append(Job(made.path, ", ".join(chips), "emulator", direct=made.sr, unproven=several))

    def _dlc(self) -> None:
        from snpe_srgan.tflite.context import facts as code_facts

        path = make_folder(self.folder / "dlc") / f"{self.source.name}.dlc"
        path.write_bytes(self.source.dlc.read_bytes())
        self._add(path, DLC, "SNPE 2, QAIRT", "onnx", chips=tuple(soc.name for soc in self.socs),
                  hexagon={soc.name: soc.hexagon for soc in self.socs},
                  qairt=code_facts(path.read_bytes()).qairt)  # fmt: skip
        self.jobs.append(Job(path, None, "emulator"))

    # -- the proof -------------------------------------------------------------------------------------------------

    def _judge(self, calibration: Sequence[Pictures]) -> Judge:
        from snpe_srgan.onnx_graphs.run import runner

        lr, origin = judge_picture(calibration, scale=self.scale, size=self.size)
        array = pixels_to_lr(lr)[None]
        exact, host = (
            sr_to_pixels(np.asarray(runner(model)(array)))[0] for model in (self.source.float_model, self.source.model)
        )
        return Judge(lr, exact, host, origin, self.scale)

    def _proof(self) -> None:
        from snpe_srgan.deploy.proof_files import write_proof

        jobs = self.jobs
        if not self.wanted:
            jobs = [Job(j.path, j.chip, j.place, unproven=NOT_ASKED) for j in self.jobs]
        digests = {a.path: a.sha256 for a in self.artifacts}
        self.proofs = prove(jobs, self.judge, folder=self.folder, digests=digests, say=self.say)
        estimate, reason = _estimate(self.fixed_path, self.wanted)
        write_proof(
            self.folder, manifest=self.manifest, proofs=self.proofs, judge=self.judge, estimate=estimate,
            no_estimate=reason, trace=self.trace,
        )  # fmt: skip


def _estimate(path: Path, wanted: bool) -> tuple[qnn.CostEstimate | None, str | None]:
    from snpe_srgan.errors import SnpeSrganError

    if not wanted:
        return None, NOT_ASKED
    try:
        return qnn.estimate_cost(path), None
    except SnpeSrganError as error:
        return None, error.what


class _Clock:
    """Adds the seconds of a `with` block to a table."""

    def __init__(self, table: dict[str, float], name: str):
        self.table, self.name = table, name

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *exception) -> None:
        self.table[self.name] = time.perf_counter() - self.start
