// How a picture of any size is cut in tiles of the network's size and put together, as tiles.json says. The same rule
// as run_tiles.py of a phone's bundle: equal bytes for equal results of the network.

/** [start, first kept pixel, end of the kept pixels] of the tiles along one axis. */
export function spans(length, tile, overlap) {
  if (length <= tile) return [[0, 0, length]];
  const step = tile - 2 * overlap;
  if (step < 1) throw new Error(`tiles of ${tile} pixels are too small for an overlap of ${overlap} on each side`);
  const count = 1 + Math.ceil((length - tile) / step);
  const starts = Array.from({ length: count }, (_, i) => halfEven((i * (length - tile)) / (count - 1)));
  const cuts = [0];
  for (let i = 1; i < count; i++) cuts.push(Math.floor((starts[i - 1] + tile + starts[i]) / 2));
  cuts.push(length);
  return starts.map((start, i) => [start, cuts[i], cuts[i + 1]]);
}

function halfEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}

/** The pixel that stands at `index` where a picture is continued by its mirror image, edge pixel repeated. */
export function mirrored(index, length) {
  const place = index % (2 * length);
  return Math.min(place, 2 * length - 1 - place);
}

const LEVELS = Float32Array.from({ length: 256 }, (_, level) => Math.fround(level / 255));

/** A float32 of -1..1 as a pixel, rounded as numpy's float32 does it; halves up. */
export function toPixel(value) {
  const scaled = Math.fround(Math.fround(Math.fround(value + 1) * 127.5) + 0.5);
  return Math.max(0, Math.min(255, Math.floor(scaled)));
}

/**
 * Enlarges RGBA pixels (alpha is taken as opaque).
 * @param rule tiles.json
 * @param picture {width, height, data: Uint8ClampedArray RGBA}
 * @param run async (Float32Array tile NHWC in 0..1) => Float32Array NHWC in -1..1
 * @param progress (tiles done, tiles in all)
 */
export async function enlarge(rule, picture, run, progress) {
  const { scale, overlap, tile } = rule;
  const { width, height, data } = picture;
  const rows = spans(Math.max(height, tile.height), tile.height, overlap);
  const columns = spans(Math.max(width, tile.width), tile.width, overlap);
  const out = { width: width * scale, height: height * scale };
  out.data = new Uint8ClampedArray(out.width * out.height * 4);
  const lr = new Float32Array(tile.height * tile.width * 3);
  let done = 0;
  for (const [y, top, bottom] of rows) {
    for (const [x, left, right] of columns) {
      let at = 0;
      for (let row = y; row < y + tile.height; row++) {
        const line = mirrored(row, height) * width;
        for (let column = x; column < x + tile.width; column++) {
          const from = (line + mirrored(column, width)) * 4;
          lr[at++] = LEVELS[data[from]];
          lr[at++] = LEVELS[data[from + 1]];
          lr[at++] = LEVELS[data[from + 2]];
        }
      }
      const sr = await run(lr);
      const span = tile.width * scale;
      if (sr.length !== tile.height * scale * span * 3) throw new Error(`the network gave ${sr.length} numbers`);
      const low = Math.min(bottom, height) * scale, far = Math.min(right, width) * scale;
      for (let row = top * scale; row < low; row++) {
        let from = ((row - y * scale) * span + (left - x) * scale) * 3;
        let to = (row * out.width + left * scale) * 4;
        for (let column = left * scale; column < far; column++) {
          out.data[to++] = toPixel(sr[from++]);
          out.data[to++] = toPixel(sr[from++]);
          out.data[to++] = toPixel(sr[from++]);
          out.data[to++] = 255;
        }
      }
      progress(++done, rows.length * columns.length);
    }
  }
  return out;
}
