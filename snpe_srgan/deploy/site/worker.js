// The network, in a thread of its own: ONNX Runtime Web on the processor (WebAssembly), so that the bytes are those of
// any other computer. One message in, {id, picture}; progress and one result, or an error, out.
import * as ort from "./ort.mjs";
import { enlarge } from "./tiles.js";

let opened = null;

async function open() {
  const [rule, wasm, model] = await Promise.all([
    get("tiles.json").then((r) => r.json()),
    get("ort.wasm").then((r) => r.arrayBuffer()),
    get("model.onnx").then((r) => r.arrayBuffer()),
  ]);
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  const session = await ort.InferenceSession.create(new Uint8Array(model), {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
  });
  return { rule, session };
}

async function get(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} could not be loaded (${answer.status})`);
  return answer;
}

self.onmessage = async ({ data: { id, picture } }) => {
  try {
    opened ??= open();
    const { rule, session } = await opened;
    const shape = [1, rule.tile.height, rule.tile.width, 3];
    const [input] = session.inputNames, [output] = session.outputNames;
    const run = async (lr) => {
      const results = await session.run({ [input]: new ort.Tensor("float32", lr, shape) });
      return results[output].data;
    };
    const tell = (done, all) => self.postMessage({ id, done, all });
    const result = await enlarge(rule, picture, run, tell);
    const threads = ort.env.wasm.numThreads;
    self.postMessage({ id, result, threads }, [result.data.buffer]);
  } catch (error) {
    opened = null; // loaded anew at the next try
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
};
