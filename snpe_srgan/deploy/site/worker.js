// Enlarges in a thread of its own. One message in, {id, picture}; progress and one result, or an error, out.
import { openEngine } from "./engine.js";
import { enlarge } from "./tiles.js";

let opened = null;

self.onmessage = async ({ data: { id, picture } }) => {
  try {
    opened ??= openEngine();
    const { rule, run, told } = await opened;
    const result = await enlarge(rule, picture, run, (done, all) => self.postMessage({ id, done, all }));
    self.postMessage({ id, result, ...told() }, [result.data.buffer]);
  } catch (error) {
    opened = null; // loaded anew at the next try
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
};
