"""Which options each tool takes, by version: data, so that a command is right for the SDK that is there.

    takes(release, "snpe-dlc-quantize", "--axis_quant")
    spelled(release, "snpe-tensorflow-to-dlc", "--input_network")

Compiled from Qualcomm's public reference pages of some versions; one in between may differ by a release or two.
"""

from __future__ import annotations

from snpe_srgan.errors import UsageError
from snpe_srgan.toolchains.snpe.release import Release

Version = tuple[int, ...]
ALWAYS: tuple[Version, Version] = ((0,), (99,))


def since(*version: int) -> tuple[Version, Version]:
    """From this version on: (first, end) as `OPTIONS` holds them, where end is no longer part of it."""
    return version, (99,)


def before(*version: int) -> tuple[Version, Version]:
    """In all versions before this one."""
    return (0,), version


def between(first: Version, end: Version) -> tuple[Version, Version]:
    """From `first` on and before `end`."""
    return first, end


_ONE = before(2, 0)
_TWO = since(2, 0)

# Options of all converters from 1.26 on; earlier ones (1.25) have --graph and --dlc instead.
_CONVERTER = {
    "--input_network": since(1, 26),
    "--output_path": since(1, 26),
    "--copyright_file": since(1, 26),
    "--model_version": ALWAYS,
    "--disable_batchnorm_folding": ALWAYS,
    "--input_type": since(1, 26),
    "--input_encoding": since(1, 26),
    "--validation_target": since(1, 26),
    "--strict": since(1, 26),
    "--debug": ALWAYS,
    "--udo_config_paths": since(1, 34),
    "--quantization_overrides": since(1, 48),
    "--out_node": ALWAYS,
    "--input_dtype": _TWO,
    "--input_layout": since(1, 50),
    "--custom_io": _TWO,
    "--preserve_io": _TWO,
    "--float_bitwidth": _TWO,
    "--keep_quant_nodes": _TWO,
}

# Options of the quantizers, as 1.x spells them (2.x still takes several, deprecated) and as 2.x does.
_QUANTIZER = {
    "--input_dlc": ALWAYS,
    "--input_list": ALWAYS,
    "--output_dlc": ALWAYS,
    "--no_weight_quantization": _ONE,
    "--use_enhanced_quantizer": ALWAYS,
    "--use_adjusted_weights_quantizer": ALWAYS,
    "--use_symmetric_quantize_weights": ALWAYS,
    "--optimizations": ALWAYS,
    "--override_params": since(1, 48),
    "--bitwidth": since(1, 33),
    "--bias_bitwidth": since(1, 33),
    "--act_bitwidth": since(1, 33),
    "--weights_bitwidth": since(1, 33),
    "--axis_quant": since(1, 50),
    "--enable_hta": between((1, 26), (2, 0)),
    "--algorithms": _TWO,
    "--param_quantizer": _TWO,
    "--act_quantizer": _TWO,
    "--use_per_channel_quantization": _TWO,
    "--float_fallback": _TWO,
    "--use_native_input_files": _TWO,
}

OPTIONS: dict[str, dict[str, tuple[Version, Version]]] = {
    "snpe-tensorflow-to-dlc": {
        **_CONVERTER,
        "--graph": before(1, 26),
        "--dlc": before(1, 26),
        "--input_dim": ALWAYS,
        "--allow_unconsumed_nodes": _ONE,
        "--show_unconsumed_nodes": since(1, 48),
        "--saved_model_tag": _TWO,
        "--saved_model_signature_key": _TWO,
    },
    "snpe-onnx-to-dlc": {
        **_CONVERTER,
        "--dry_run": since(1, 26),
        "--input_dim": since(1, 50),
        "--no_simplification": since(1, 50),
        "--batch": since(1, 50),
        "--define_symbol": since(1, 50),
    },
    "qairt-converter": {
        name: _TWO
        for name in (
            "--input_network", "--output_path", "--source_model_input_shape", "--out_tensor_node",
            "--source_model_input_layout", "--desired_input_layout", "--preserve_io_datatype", "--config",
            "--quantization_overrides", "--float_bitwidth", "--export_format", "--target_backend",
            "--target_soc_model", "--dry_run",
        )
    },
    "snpe-dlc-quantize": {**_QUANTIZER, "--enable_htp": since(1, 50), "--htp_socs": since(1, 50)},
    "snpe-dlc-quant": {name: _TWO for name, (_, end) in _QUANTIZER.items() if end > (2, 0)},
    "qairt-quantizer": {
        name: _TWO
        for name in (
            "--input_dlc", "--output_dlc", "--input_list", "--apply_algorithms", "--act_quantizer_calibration",
            "--param_quantizer_calibration", "--percentile_calibration_value", "--act_quantizer_schema",
            "--param_quantizer_schema", "--act_bitwidth", "--weights_bitwidth", "--bias_bitwidth",
            "--use_per_channel_quantization", "--enable_float_fallback", "--dump_encoding_json",
            "--ignore_quantization_overrides", "--target_backend", "--target_soc_model", "--use_native_input_files",
        )
    },
    "snpe-dlc-graph-prepare": {
        name: _TWO
        for name in (
            "--input_dlc", "--output_dlc", "--htp_socs", "--vtcm_override", "--optimization_level",
            "--set_output_tensors", "--overwrite_cache_records",
        )
    },
    "snpe-dlc-info": {"-i": ALWAYS, "-s": ALWAYS},
    "snpe-net-run": {
        **dict.fromkeys(
            (
                "--container", "--input_list", "--use_gpu", "--use_dsp", "--use_aip", "--output_dir", "--debug",
                "--perf_profile", "--profiling_level", "--enable_cpu_fallback", "--input_name", "--input_dimensions",
                "--userbuffer_float", "--userbuffer_tf8", "--version",
            ),
            ALWAYS,
        ),
        "--gpu_mode": since(1, 30),
        "--runtime_order": since(1, 30),
        "--duration": since(1, 30),
        "--enable_init_cache": between((1, 30), (2, 45)),  # from then on it is what always happens
        "--set_output_tensors": since(1, 50),
        "--userbuffer_auto": _TWO,
        "--use_native_input_files": _TWO,
        "--use_native_output_files": _TWO,
    },
    "snpe-throughput-net-run": dict.fromkeys(
        ("--container", "--duration", "--use_cpu", "--use_gpu", "--use_gpu_fp16", "--use_dsp", "--use_aip",
         "--perf_profile", "--version"),
        ALWAYS,
    ),
    "snpe-diagview": {"--input_log": ALWAYS, "--output": ALWAYS},
}  # fmt: skip

# What an option was called before (or in the other flavour): tried in this order where the first is not there.
SPELLINGS = {
    "--input_network": ("--input_network", "--graph"),
    "--output_path": ("--output_path", "--dlc"),
    "--algorithms": ("--algorithms", "--apply_algorithms", "--optimizations"),
    "--use_per_channel_quantization": ("--use_per_channel_quantization", "--axis_quant"),
    "--input_dim": ("--input_dim", "--source_model_input_shape"),
    "--out_node": ("--out_node", "--out_tensor_node"),
    "--input_layout": ("--input_layout", "--source_model_input_layout"),
}
PROFILES = {  # name -> from which version on
    "default": ALWAYS,
    "balanced": ALWAYS,
    "high_performance": ALWAYS,
    "sustained_high_performance": ALWAYS,
    "power_saver": ALWAYS,
    "system_settings": ALWAYS,
    "burst": since(1, 44),
    "low_power_saver": since(1, 44),
    "high_power_saver": since(1, 44),
    "low_balanced": since(1, 44),
    "extreme_power_saver": since(2, 0),
}


def takes(release: Release, tool: str, option: str) -> bool:
    """Whether a release's tool knows an option spelled exactly so.

    Args:
        tool: a key of `OPTIONS`; `KeyError` for another.
        option: with its dashes.
    """
    first, end = OPTIONS[tool].get(option, ((99,), (99,)))
    return first <= release.version < end


def spelled(release: Release, tool: str, option: str) -> str:
    """How this release's tool spells an option; `UsageError` when it has none of that meaning.

    Args:
        tool: a key of `OPTIONS`.
        option: the spelling that this package uses, with its dashes; a key of `SPELLINGS` where there are several.
    """
    for name in SPELLINGS.get(option, (option,)):
        if takes(release, tool, name):
            return name
    raise UsageError(f"{tool} of {release} has no {option}", hint=_when(tool, option))


def _when(tool: str, option: str) -> str | None:
    known = [(name, OPTIONS[tool][name]) for name in SPELLINGS.get(option, (option,)) if name in OPTIONS[tool]]
    if not known:
        return None
    name, (first, end) = min(known, key=lambda found: found[1])  # the oldest spelling
    start = f"from {'.'.join(map(str, first))} on" if first > (0,) else ""
    stop = f"before {'.'.join(map(str, end))}" if end < (99,) else ""
    return f"{name} exists {' and '.join(filter(None, (start, stop)))}" if start or stop else None


def check_profile(release: Release, profile: str) -> str:
    """A performance profile's name, if this release knows it; `UsageError` names those it does."""
    known = [name for name, (first, _) in PROFILES.items() if release.version >= first]
    if profile not in known:
        raise UsageError(
            f"{release} has no performance profile '{profile}'", where="--perf-profile", hint=", ".join(known)
        )
    return profile
