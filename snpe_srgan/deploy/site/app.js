// The page: takes a photo of the visitor, has the worker enlarge it, shows both under a slider. Nothing is uploaded.
const MOST_PIXELS = 100e6, MOST_SIDE = 16384; // of the result: what browsers' canvases hold
const site = await (await fetch("site.json")).json();
const $ = (id) => document.getElementById(id);
const { scale } = site;
let worker = null, current = 0, link = null;

function status(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

function remark(text) {
  const line = document.createElement("li");
  line.textContent = text;
  $("remarks").append(line);
}

/** The pixels of a picture file, as the browser shows them: turned by its EXIF tag, in sRGB, on white. */
async function decode(file) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  const { width, height } = bitmap;
  if (width * height * scale ** 2 > MOST_PIXELS || Math.max(width, height) * scale > MOST_SIDE) {
    throw new Error(`${width} x ${height} pixels are too many here: the result may have ${MOST_PIXELS / 1e6} million pixels and sides of ${MOST_SIDE}. The command snpe-srgan run takes pictures of any size.`);
  }
  const canvas = $("before");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  let data = context.getImageData(0, 0, width, height).data;
  if (data.some((value, i) => i % 4 === 3 && value < 255)) {
    remark("The picture is transparent in places: it is shown on white.");
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    data = context.getImageData(0, 0, width, height).data;
  }
  const head = new Uint8Array(await file.slice(0, 25).arrayBuffer());
  if (head[1] === 0x50 && head[2] === 0x4e && head[3] === 0x47 && head[24] === 16) remark("Of its 16 bits a browser keeps 8.");
  if (head[0] === 0x47 && head[1] === 0x49 && head[2] === 0x46) remark("Of an animation only the first frame is taken.");
  return { width, height, data };
}

function compute(picture, tell) {
  return new Promise((resolve, reject) => {
    const id = ++current;
    worker ??= new Worker("worker.js" + location.search, { type: "module" });
    worker.onmessage = ({ data }) => {
      if (data.id !== id) return;
      if (data.error) reject(new Error(data.error));
      else if (data.result) resolve(data);
      else tell(data.done, data.all);
    };
    worker.onerror = (event) => reject(new Error(event.message || "the worker could not be started"));
    worker.postMessage({ id, picture }, [picture.data.buffer]);
    $("cancel").onclick = () => {
      worker.terminate();
      worker = null;
      reject(new Error("Stopped."));
    };
  });
}

function busy(on) {
  $("progress").hidden = $("cancel").hidden = !on;
  for (const id of ["file", "example"]) $(id).disabled = on;
  document.body.classList.toggle("busy", on);
}

async function enlarge(file, expected = null) {
  if (document.body.classList.contains("busy")) return;
  $("remarks").replaceChildren();
  $("result").hidden = true;
  busy(true);
  $("progress").removeAttribute("value");
  status("Loading the network ...");
  const start = performance.now();
  try {
    const picture = await decode(file);
    const { width, height } = picture;
    let first = null;
    const { result, on, remark: told } = await compute(picture, (done, all) => {
      first ??= performance.now();
      $("progress").max = all;
      $("progress").value = done;
      const rest = done > 1 ? Math.round(((performance.now() - first) / (done - 1)) * (all - done) / 1000) : null;
      status(`Tile ${done} of ${all}${rest === null ? "" : `, about ${rest} s left`}`);
    });
    const seconds = (performance.now() - start) / 1000;
    await show(result, file.name, `${width} x ${height} to ${result.width} x ${result.height} in ${seconds.toFixed(1)} s, ${on}.`);
    if (told) remark(told);
    if (!site.exact) remark(`Tiles give what is near the whole picture's result, not equal to it: ${site.reason}.`);
    if (expected) remark(await compare(result, expected));
  } catch (error) {
    const undecoded = error instanceof DOMException && ["InvalidStateError", "EncodingError"].includes(error.name);
    status(undecoded ? `${file.name || "This file"} is no picture that this browser can open.` : error.message, true);
  } finally {
    busy(false);
  }
}

/** Whether the example's bytes are those that this site's maker got. */
async function compare(result, expected) {
  if (!crypto.subtle) return "The bytes can be compared with the maker's over https or on localhost only.";
  const rgb = new Uint8Array(result.width * result.height * 3);
  for (let from = 0, to = 0; from < result.data.length; from += 4) {
    rgb[to++] = result.data[from];
    rgb[to++] = result.data[from + 1];
    rgb[to++] = result.data[from + 2];
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", rgb));
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex === expected) return "The result has the same bytes as on the computer that made this site.";
  return site.integer
    ? "The result differs from that of the computer that made this site."
    : "The result is not byte for byte that of the computer that made this site: float networks differ by a level here and there.";
}

async function show(result, name, text) {
  const canvas = $("after");
  [canvas.width, canvas.height] = [result.width, result.height];
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This browser cannot hold a picture of that size.");
  context.putImageData(new ImageData(result.data, result.width, result.height), 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  if (!blob) throw new Error("This browser cannot write a picture of that size.");
  if (link) URL.revokeObjectURL(link);
  link = URL.createObjectURL(blob);
  $("download").href = link;
  $("download").download = `${(name || "picture").replace(/\.[^.]*$/, "")}_x${scale}.png`;
  $("compare").style.setProperty("--wide", result.width);
  $("compare").style.setProperty("--tall", result.height);
  $("result").hidden = false;
  slide();
  status(text);
}

function slide() {
  const share = $("slider").value;
  $("compare").style.setProperty("--at", `${share}%`);
  $("slider").setAttribute("aria-valuetext", `${share} % original, ${100 - share} % enlarged`);
}

$("slider").addEventListener("input", slide);
$("pixels").addEventListener("change", () => $("compare").classList.toggle("pixels", $("pixels").checked));
$("file").addEventListener("change", () => $("file").files[0] && enlarge($("file").files[0]));
$("example").addEventListener("click", async () => {
  const blob = await (await fetch("example.png")).blob();
  enlarge(new File([blob], "example.png", { type: "image/png" }), site.example.sha256);
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files[0]) enlarge(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files[0]) enlarge(event.clipboardData.files[0]);
});

$("file").disabled = $("example").disabled = false;
status("Choose a photo, drop one here, or paste one.");
if ("serviceWorker" in navigator) {
  await navigator.serviceWorker.register("offline.js");
  await navigator.serviceWorker.ready;
  document.documentElement.dataset.offline = "ready";
  $("offline").hidden = false;
}
