"""Enlarges a picture of any size by the model beside it, tile by tile, as tiles.json says. Needs numpy alone.

    from run_tiles import enlarge, litert, load
    rule = load("tiles.json")
    sr = enlarge(rule, pixels, litert("tflite/MODEL.tflite"))        # uint8 (h, w, 3) RGB in and out

or `python run_tiles.py MODEL.tflite photo.png result.png` (with the packages ai-edge-litert and pillow).
This is the reference: an app in another language is right when it gives the same bytes.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np


def load(path="tiles.json"):
    """The rule, from tiles.json; ValueError for what is none."""
    rule = json.loads(Path(path).read_text("utf-8"))
    if not isinstance(rule, dict) or rule.get("schema_version") != 1:
        raise ValueError(f"{path}: this runner knows tiles.json of version 1")
    tile = rule.get("tile") if isinstance(rule.get("tile"), dict) else {}
    limits = {"scale": (1, 16), "overlap": (0, 4096), "height": (1, 4096), "width": (1, 4096)}
    for name, (least, most) in limits.items():
        value = (rule if name in ("scale", "overlap") else tile).get(name)
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{path}: '{name}' must be a whole number of {least} to {most}")
    return rule


def spans(length, tile, overlap):
    """The tiles along one axis: [(start, first kept pixel, end of the kept pixels)]; ValueError for too small a `tile`.

    Args:
        length, tile: of the picture and of the model's input, in pixels.
        overlap: pixels between a kept pixel and a border that is not the picture's.
    """
    if length <= tile:
        return [(0, 0, length)]
    step = tile - 2 * overlap
    if step < 1:
        raise ValueError(f"tiles of {tile} pixels are too small for an overlap of {overlap} on each side")
    count = 1 + math.ceil((length - tile) / step)
    starts = [round(i * (length - tile) / (count - 1)) for i in range(count)]  # halves to the even number
    cuts = [0] + [(starts[i - 1] + tile + starts[i]) // 2 for i in range(1, count)] + [length]
    return list(zip(starts, cuts[:-1], cuts[1:], strict=True))


def mirrored(pixels, height, width):
    """The picture, continued below and to the right by its mirror image to at least `height` x `width`."""
    rows = np.arange(max(height, pixels.shape[0]))
    columns = np.arange(max(width, pixels.shape[1]))
    for index, length in ((rows, pixels.shape[0]), (columns, pixels.shape[1])):
        index %= 2 * length
        np.minimum(index, 2 * length - 1 - index, out=index)
    return pixels[rows][:, columns]


def enlarge(rule, pixels, run, progress=None):
    """uint8 (h, w, 3) RGB -> uint8 (h * scale, w * scale, 3); ValueError for what is no such picture or model.

    Args:
        rule: as of `load`.
        run: the model; uint8 (1, tile height, tile width, 3) -> uint8 (1, ... * scale, ... * scale, 3).
        progress: called with (tiles done, tiles in all).
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"pixels must be uint8 (height, width, 3), not {pixels.dtype} {pixels.shape}")
    scale, overlap = rule["scale"], rule["overlap"]
    tall, wide = rule["tile"]["height"], rule["tile"]["width"]
    height, width = pixels.shape[:2]
    padded = mirrored(pixels, tall, wide)
    rows, columns = spans(padded.shape[0], tall, overlap), spans(padded.shape[1], wide, overlap)
    out = np.empty((height * scale, width * scale, 3), np.uint8)
    done = 0
    for y, top, bottom in rows:
        for x, left, right in columns:
            sr = np.asarray(run(np.ascontiguousarray(padded[None, y : y + tall, x : x + wide])))
            if sr.shape != (1, tall * scale, wide * scale, 3) or sr.dtype != np.uint8:
                raise ValueError(f"the model gave {sr.dtype} {sr.shape}")
            low, far = min(bottom, height), min(right, width)  # what lies beyond the picture is cropped
            if top < low and left < far:
                out[top * scale : low * scale, left * scale : far * scale] = sr[
                    0, (top - y) * scale : (low - y) * scale, (left - x) * scale : (far - x) * scale
                ]
            done += 1
            if progress is not None:
                progress(done, len(rows) * len(columns))
    return out


def litert(path, threads=None):
    """A `run` for `enlarge`: LiteRT's CPU kernels on a .tflite with uint8 or float32 ends."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    lr, sr = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(tile):
        interpreter.set_tensor(lr["index"], tile if lr["dtype"] == np.uint8 else to_floats(tile))
        interpreter.invoke()
        result = interpreter.get_tensor(sr["index"])
        return result if result.dtype == np.uint8 else to_pixels(result)

    return run


def onnx(path, providers=("CPUExecutionProvider",)):
    """A `run` for `enlarge`: ONNX Runtime on an .onnx whose output is in -1..1."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=list(providers))
    name = session.get_inputs()[0].name
    return lambda tile: to_pixels(session.run(None, {name: to_floats(tile)})[0], low=-1.0)


def to_floats(pixels):
    """uint8 pixels as float32 in 0..1."""
    return pixels.astype(np.float32) / np.float32(255)


def to_pixels(values, low=0.0):
    """Floats in low..1 as uint8 pixels, clipped, halves rounded up."""
    if low == 0.0:
        values = values * np.float32(2) - np.float32(1)
    scaled = (values.astype(np.float32) + np.float32(1)) * np.float32(127.5) + np.float32(0.5)
    return np.clip(scaled, 0, 255).astype(np.uint8)


def main(arguments):
    """Enlarges one picture: `arguments` are the model, the picture and the result's name."""
    from PIL import Image

    model, source, target = arguments
    rule = load(Path(__file__).with_name("tiles.json"))
    pixels = np.asarray(Image.open(source).convert("RGB"))
    run = onnx(model) if model.endswith(".onnx") else litert(model)
    Image.fromarray(enlarge(rule, pixels, run)).save(target)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python run_tiles.py MODEL.tflite PICTURE RESULT.png")
    main(sys.argv[1:])
