"""What each stand-in tool takes, version by version, written apart from the wrapper's own tables.

Converters are Python programs with argparse (status 2 for a bad option); the others parse as getopt does (status 1).
"""

from __future__ import annotations

import argparse
import sys


def converter(tool: str, version: tuple[int, ...], argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=tool, allow_abbrev=False)
    tensorflow, old, two = "tensorflow" in tool, version < (1, 26), version >= (2, 0)
    if old:
        parser.add_argument("--graph", dest="network", required=True)
        parser.add_argument("-i", "--input_dim", dest="dims", nargs=2, action="append", required=tensorflow)
        parser.add_argument("--dlc", dest="out")
        parser.add_argument("--out_node", dest="outputs", action="append", required=tensorflow)
        parser.add_argument("--allow_unconsumed_nodes", action="store_true")
        return finish(parser, argv)
    parser.add_argument("-i", "--input_network", dest="network", required=True)
    parser.add_argument("-o", "--output_path", dest="out")
    parser.add_argument("--out_node", "--out_name", dest="outputs", action="append", required=tensorflow)
    if tensorflow or version >= (1, 50):
        parser.add_argument("-d", "--input_dim", dest="dims", nargs=2, action="append", required=tensorflow)
    parser.add_argument("-t", "--input_type", nargs=2, action="append")
    parser.add_argument("-e", "--input_encoding", nargs="+", action="append")
    parser.add_argument("--disable_batchnorm_folding", action="store_true")
    parser.add_argument("--model_version")
    parser.add_argument("--copyright_file")
    parser.add_argument("--validation_target", nargs=2)
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--debug", nargs="?")
    if tensorflow and not two:
        parser.add_argument("--allow_unconsumed_nodes", action="store_true")
    if not tensorflow:
        parser.add_argument("--dry_run", nargs="?")
    if version >= (1, 48):
        parser.add_argument("--quantization_overrides", dest="overrides")
    if version >= (1, 50):
        parser.add_argument("-l", "--input_layout", dest="layouts", nargs=2, action="append")
    if two:
        parser.add_argument("--input_dtype", nargs=2, action="append")
        parser.add_argument("--custom_io")
        parser.add_argument("--preserve_io", nargs="*")
        parser.add_argument("--float_bitwidth")
        parser.add_argument("--keep_quant_nodes", action="store_true")
    return finish(parser, argv)


def qairt_converter(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="qairt-converter", allow_abbrev=False)
    parser.add_argument("-i", "--input_network", dest="network", required=True)
    parser.add_argument("-o", "--output_path", dest="out")
    parser.add_argument("-s", "--source_model_input_shape", dest="dims", nargs=2, action="append")
    parser.add_argument("--out_tensor_node", "--out_tensor_name", dest="outputs", action="append")
    parser.add_argument("--source_model_input_layout", dest="layouts", nargs=2, action="append")
    parser.add_argument("--desired_input_layout", nargs=2, action="append")
    parser.add_argument("-q", "--quantization_overrides", dest="overrides")
    parser.add_argument("--preserve_io_datatype", nargs="*")
    for name in ("--config", "--float_bitwidth", "--export_format", "--target_backend", "--target_soc_model"):
        parser.add_argument(name)
    parser.add_argument("--dry_run", nargs="?")
    return finish(parser, argv)


def qairt_quantizer(argv: list[str]) -> dict[str, list[str]]:
    parser = argparse.ArgumentParser(prog="qairt-quantizer", allow_abbrev=False)
    parser.add_argument("-i", "--input_dlc", required=True)
    parser.add_argument("-o", "--output_dlc")
    parser.add_argument("-l", "--input_list")
    parser.add_argument("--apply_algorithms", nargs="+", action="extend", choices=["cle"])
    parser.add_argument("--act_bitwidth", choices=["8", "16"])
    parser.add_argument("--weights_bitwidth", choices=["4", "8", "16"])
    parser.add_argument("--bias_bitwidth", choices=["8", "32"])
    parser.add_argument("--use_per_channel_quantization", action="store_true")
    parser.add_argument("--dump_encoding_json", action="store_true")
    found = vars(finish(parser, argv))
    found["algorithms"] = found.pop("apply_algorithms")
    # Encodings that came with the .dlc are used here unless they are forbidden.
    found["override_params"] = True
    return {k: v if isinstance(v, list) else [str(v)] for k, v in found.items() if v}


def finish(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    found = parser.parse_args(argv)
    for name in ("dims", "outputs", "layouts", "overrides"):
        if not hasattr(found, name):
            setattr(found, name, None)
    return found


def getopt(tool: str, argv: list[str], valued: set[str], flags: set[str], required: set[str]) -> dict[str, list[str]]:
    """`--name=value`, `--name value` and `--flag`, as the native tools read them; ends the program on a mistake."""
    found: dict[str, list[str]] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in flags and not equals:
            found.setdefault(name.lstrip("-"), [])
        elif name in valued:
            if not equals:
                if not rest:
                    die(f"{tool}: option '{name}' requires an argument")
                value = rest.pop(0)
            found.setdefault(name.lstrip("-"), []).append(value)
        else:
            die(f"{tool}: unrecognized option '{name}'\nTry '{tool} --help' for more information.")
    for name in required:
        if name.lstrip("-") not in found:
            die(f"ERROR: missing required argument {name}")
    return found


def quantizer(tool: str, version: tuple[int, ...], argv: list[str]) -> dict[str, list[str]]:
    valued = {"--input_dlc", "--input_list", "--output_dlc", "--optimizations"}
    flags = {"--use_enhanced_quantizer", "--use_adjusted_weights_quantizer", "--use_symmetric_quantize_weights"}
    if version >= (1, 33):
        valued |= {"--bitwidth", "--bias_bitwidth", "--act_bitwidth", "--weights_bitwidth"}
    if version >= (1, 48):
        flags |= {"--override_params"}
    if version >= (1, 50):
        flags |= {"--axis_quant"}
        if tool == "snpe-dlc-quantize":
            flags |= {"--enable_htp"}
            valued |= {"--htp_socs"}
    if version < (2, 0):
        flags |= {"--no_weight_quantization", "--enable_hta"}
    else:
        valued |= {"--algorithms", "--param_quantizer", "--act_quantizer"}
        flags |= {"--use_per_channel_quantization", "--float_fallback", "--use_native_input_files"}
    found = getopt(tool, argv, valued, flags, {"--input_dlc", "--input_list"})
    if "bitwidth" in found and {"act_bitwidth", "weights_bitwidth", "bias_bitwidth"} & set(found):
        die("[ERROR] --bitwidth cannot be mixed with --weights_bitwidth, --act_bitwidth or --bias_bitwidth")
    known = ("cle", "bc") if version < (2, 0) else ("cle",)
    found["algorithms"] = found.get("algorithms", []) + found.pop("optimizations", [])
    for name in found["algorithms"]:
        if name not in known:
            die(f"[ERROR] Unknown optimization algorithm: {name}")
    return found


def net_run(version: tuple[int, ...], argv: list[str]) -> dict[str, list[str]]:
    valued = {"--container", "--input_list", "--output_dir", "--perf_profile", "--profiling_level", "--input_name",
              "--input_dimensions"}  # fmt: skip
    flags = {"--use_gpu", "--use_dsp", "--use_aip", "--debug", "--enable_cpu_fallback", "--userbuffer_float",
             "--userbuffer_tf8", "--version"}  # fmt: skip
    if version >= (2, 0):
        flags |= {"--userbuffer_auto", "--use_native_input_files", "--use_native_output_files"}
    found = getopt("snpe-net-run", argv, valued, flags, {"--container", "--input_list"})
    profiles = {"default", "balanced", "high_performance", "sustained_high_performance", "power_saver",
                "system_settings"}  # fmt: skip
    if version >= (1, 44):
        profiles |= {"burst", "low_power_saver", "high_power_saver", "low_balanced"}
    for profile in found.get("perf_profile", []):
        if profile not in profiles:
            die(f"ERROR: Invalid performance profile: {profile}")
    for level in found.get("profiling_level", []):
        if level not in ("off", "basic", "moderate", "detailed", "linting"):
            die(f"ERROR: Invalid profiling level: {level}")
    if "use_native_input_files" in found and not any(name.startswith("userbuffer") for name in found):
        die("ERROR: --use_native_input_files must be used with --userbuffer_xxx")
    return found


def throughput(argv: list[str]) -> dict[str, list[str]]:
    flags = {f"--use_{name}" for name in ("cpu", "gpu", "gpu_fp16", "dsp", "aip")}
    found = getopt(
        "snpe-throughput-net-run", argv, {"--container", "--duration", "--perf_profile"}, flags,
        {"--container", "--duration"},
    )  # fmt: skip
    if sum(name.startswith("use_") for name in found) != 1:
        die("ERROR: one of --use_cpu, --use_gpu, --use_gpu_fp16, --use_dsp, --use_aip is needed")
    return found


def die(text: str, status: int = 1):
    print(text, file=sys.stderr)
    raise SystemExit(status)
