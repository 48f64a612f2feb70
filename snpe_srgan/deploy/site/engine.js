// What runs the network. The processor (WebAssembly) always can: for 8-bit networks it gives the bytes of any other
// computer. A float network runs on the graphics processor (WebGPU) where the browser offers one that draws what the
// processor draws, within a level, and is faster. ?engine=wasm or ?engine=webgpu in the page's address says which.
import { toPixel } from "./tiles.js";

const LONGEST = 60_000; // milliseconds until the graphics processor is given up
const asked = new URLSearchParams(self.location.search).get("engine");

/** Gives {rule: tiles.json, run: async (Float32Array tile) => Float32Array, told: () => {on, remark}}. */
export async function openEngine() {
  const [rule, site, model] = await Promise.all([json("tiles.json"), json("site.json"), bytes("model.onnx")]);
  const threads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  const processor = await session("./ort.mjs", "ort.wasm.gz", "wasm", threads, model, rule);
  let graphics = null, remark = null;
  if (site.webgpu && asked !== "wasm") {
    try {
      if (await offered()) graphics = await within(LONGEST, checked(model, rule, processor));
    } catch (error) {
      remark = `The graphics processor is not used: ${error.message ?? error}`;
    }
  }
  if (asked === "webgpu" && !graphics) remark ??= "The graphics processor is not used: " + (site.webgpu
    ? "this browser offers none."
    : "this site's network runs on the processor alone, or the site was made without WebGPU.");
  const run = async (lr) => {
    if (!graphics) return processor(lr);
    try {
      return await within(LONGEST, graphics(lr));
    } catch (error) { // the device was lost, or its memory is full
      [graphics, remark] = [null, `The graphics processor failed, the processor went on: ${error.message ?? error}`];
      return processor(lr);
    }
  };
  const told = () => ({ on: graphics ? "WebGPU" : `${threads} thread${threads === 1 ? "" : "s"}`, remark });
  return { rule, run, told };
}

/** Whether there is a graphics processor; one that is computed in software is taken only when asked for. */
async function offered() {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  return Boolean(adapter) && (asked === "webgpu" || !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter));
}

/** The network on the graphics processor; an error where it draws something else, or is no faster. */
async function checked(model, rule, processor) {
  const graphics = await session("./ort.webgpu.mjs", "ort.webgpu.wasm.gz", "webgpu", 1, model, rule);
  const tile = drawn(rule.tile);
  const ours = await timed(() => processor(tile));
  await graphics(tile); // compiles its shaders
  const theirs = await timed(() => graphics(tile));
  if (theirs.value.length !== ours.value.length) throw new Error("its result has another size.");
  let worst = 0;
  for (let i = 0; i < ours.value.length; i++) worst = Math.max(worst, Math.abs(toPixel(ours.value[i]) - toPixel(theirs.value[i])));
  if (!(worst <= 1)) throw new Error(`its result is ${worst} levels from the processor's.`);
  if (asked !== "webgpu" && theirs.seconds >= ours.seconds)
    throw new Error(`it takes ${theirs.seconds.toFixed(2)} s a tile, the processor ${ours.seconds.toFixed(2)} s.`);
  return graphics;
}

/** A tile of slopes and noise, dark in places and bright in others. */
function drawn({ height, width }) {
  let state = 1;
  return Float32Array.from({ length: height * width * 3 }, (_, i) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const column = Math.floor(i / 3) % width, row = Math.floor(i / 3 / width);
    return ((column / width + row / height) / 2 + state / 2 ** 32 * (column / width)) / 2;
  });
}

async function timed(work) {
  const start = performance.now(), value = await work();
  return { value, seconds: (performance.now() - start) / 1000 };
}

function within(milliseconds, work) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("it did not answer in time.")), milliseconds));
  return Promise.race([work, late]);
}

async function session(script, wasm, provider, threads, model, rule) {
  const [ort, binary] = await Promise.all([import(script), bytes(wasm)]);
  ort.env.wasm.wasmBinary = binary.buffer;
  ort.env.wasm.numThreads = threads;
  const opened = await ort.InferenceSession.create(model, {
    executionProviders: [provider],
    graphOptimizationLevel: "all",
  });
  const [input] = opened.inputNames, [output] = opened.outputNames;
  const shape = [1, rule.tile.height, rule.tile.width, 3];
  return async (lr) => (await opened.run({ [input]: new ort.Tensor("float32", lr, shape) }))[output].data;
}

async function get(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} could not be loaded (${answer.status})`);
  return answer;
}

async function json(name) {
  return (await get(name)).json();
}

/** A file's bytes, unpacked where they are packed: some servers unpack .gz on the way, most do not. */
async function bytes(name) {
  const body = new Uint8Array(await (await get(name)).arrayBuffer());
  if (body[0] !== 0x1f || body[1] !== 0x8b) return body;
  const unpacked = new Blob([body]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}
