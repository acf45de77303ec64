// The page. Whatever comes from a file (class names, paths) is written as text, never as markup.

import { ranked } from "./preprocess.js";

const TOP = 5;
const byId = (id) => document.getElementById(id);
const percent = (share, digits = 1) => `${(share * 100).toFixed(digits)}\u00a0%`;
const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)}\u00a0ms`;

// Control characters and those that turn the direction of writing, spelt out.
const visible = (text) => String(text).replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}]/gu,
  (char) => `\\u${char.codePointAt(0).toString(16).padStart(4, "0")}`);

function element(tag, text = "", attributes = {}, ...children) {
  const made = document.createElement(tag);
  if (text !== "") made.textContent = visible(text);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const name = (text) => element("bdi", text);

// --- the worker -------------------------------------------------------------------------------------

const engine = new Worker("engine.js", { type: "module" });
const waiting = new Map();
let serial = 0;

engine.onmessage = ({ data }) => {
  const { resolve, reject } = waiting.get(data.id);
  waiting.delete(data.id);
  if (data.error === undefined) resolve(data.value);
  else reject(new Error(data.error));
};
engine.onerror = (event) => say(`The worker cannot start: ${event.message ?? "blocked"}`, true);

function ask(action, content = {}, transfer = []) {
  return new Promise((resolve, reject) => {
    waiting.set(++serial, { resolve, reject });
    engine.postMessage({ id: serial, action, ...content }, transfer);
  });
}

// --- what is shown ------------------------------------------------------------------------------------

let bundle = null;

function say(text, bad = false) {
  byId("status").textContent = visible(text);
  byId("status").classList.toggle("bad", bad);
}

const chosen = () => [...document.querySelectorAll("#models input:checked")].map((box) => box.value);
const titleOf = (file) => bundle.models.find((model) => model.web === file).title;

function showModels() {
  const options = document.querySelector("#models .options");
  for (const [index, model] of bundle.models.filter((one) => one.web).entries()) {
    const box = element("input", "", { type: "checkbox", value: model.web });
    box.checked = index === 0;
    box.addEventListener("change", async () => {
      if (!chosen().length) {
        box.checked = true;
        return;
      }
      try {
        await ready();
      } catch (error) {
        box.checked = false; // the others go on
        say(`${model.title}: ${error.message}`, true);
      }
    });
    const accuracy = model.accuracy === null ? "" : `, ${percent(model.accuracy)} top-1`;
    options.append(element("label", "", {}, box,
      element("span", "", {}, element("b", model.title),
        element("small", `${(model.bytes / 1e6).toFixed(1)}\u00a0MB${accuracy}`))));
  }
}

function table(target, caption, head, rows) {
  target.replaceChildren(
    element("caption", caption),
    element("thead", "", {}, element("tr", "", {}, ...head.map((text) => element("th", text, { scope: "col" })))),
    element("tbody", "", {}, ...rows.map(([first, ...rest]) => element("tr", "", {},
      element("th", "", { scope: "row" }, name(first)),
      ...rest.map((cell) => (cell instanceof Node ? element("td", "", {}, cell) : element("td", cell)))))),
  );
}

function showCard() {
  byId("title").textContent = visible(bundle.title);
  document.title = visible(bundle.title);
  const interval = (ci) => (ci ? `${(ci[0] * 100).toFixed(1)}–${(ci[1] * 100).toFixed(1)}` : "–");
  const { host, void: reasons } = bundle.card;
  const times = reasons.length ? `latencies on ${host} are void: ${reasons.join(", ")}`
    : `latency of one image on ${host ?? "no host"}`;
  const latency = (model, quantile) => {
    if (reasons.length) return "void";
    return model.latency ? ms(model.latency[quantile]) : "–";
  };
  table(byId("card"), `Accuracy on ${bundle.card.n_images ?? "no"} test images; ${times}`,
    ["Model", "Top-1", "95 % interval", "p50", "p90", "MB"],
    bundle.models.map((model) => [
      model.title,
      model.accuracy === null ? "–" : percent(model.accuracy),
      interval(model.accuracy_ci),
      latency(model, "p50"),
      latency(model, "p90"),
      (model.bytes / 1e6).toFixed(1),
    ]));
  for (const [term, text] of bundle.card.facts) {
    byId("facts").append(element("dt", term), element("dd", "", {}, name(text)));
  }
  byId("classes").append(...bundle.labels.map((label) => element("li", "", {}, name(label))));
}

function showExamples() {
  const list = document.querySelector("#examples ul");
  for (const vector of bundle.golden.vectors) {
    const label = vector.label || vector.image.replace(/\.[a-z]+$/, "").replaceAll("-", " ");
    const button = element("button", "", { type: "button", "aria-label": visible(label) },
      element("img", "", { src: `golden/${vector.image}`, alt: "", loading: "lazy" }));
    button.addEventListener("click", async () => {
      const blob = await (await fetch(`golden/${vector.image}`)).blob();
      await take([{ file: new File([blob], vector.image), path: vector.image, label: vector.label }]);
    });
    list.append(element("li", "", {}, button));
  }
  byId("examples").hidden = false;
}

function column(result, top = TOP) {
  const list = element("ol", "", { class: "bars" });
  for (const { label, share } of ranked(result.logits, bundle.labels, top)) {
    const bar = element("span", "", { class: "bar", "aria-hidden": "true" });
    bar.style.setProperty("--share", String(share));
    list.append(element("li", "", {}, name(label), element("span", percent(share), { class: "share" }), bar));
  }
  return element("div", "", { class: "column", "data-file": result.file },
    element("h3", titleOf(result.file)), list,
    element("p", `${ms(result.milliseconds)} to compute`, { class: "soft small" }));
}

function showAnswer(path, answer) {
  byId("answer").hidden = false;
  const side = bundle.preprocess.crop.size;
  const canvas = byId("seen");
  canvas.width = canvas.height = side;
  canvas.classList.toggle("tiny", side < 96);
  const image = new ImageData(side, side);
  for (let i = 0; i < side * side; i++) {
    image.data.set(answer.pixels.subarray(i * 3, i * 3 + 3), i * 4);
    image.data[i * 4 + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  byId("caption").replaceChildren(name(path),
    element("span", `${answer.width} × ${answer.height}, prepared in ${ms(answer.prepared)}`));
  byId("columns").replaceChildren(...answer.results.map((result) => column(result)));
}

// --- images ----------------------------------------------------------------------------------------------

let stopped = false;
let taken = 0; // what is taken last is shown; a batch under way ends

// A class is the nearest folder of that name, however the system composes its letters.
function labelOf(path) {
  for (const folder of path.split("/").slice(0, -1).reverse()) {
    const label = bundle.labels.find((one) => one.normalize() === folder.normalize());
    if (label !== undefined) return label;
  }
  return "";
}

async function take(items) {
  if (!items.length) return;
  taken += 1;
  stopCamera();
  byId("batch").hidden = items.length === 1;
  if (items.length > 1) return batch(items);
  const [{ file, path }] = items;
  say("Working …");
  try {
    const answer = await ask("classify", { blob: file, files: chosen() });
    showAnswer(path, answer);
    const [best] = ranked(answer.results[0].logits, bundle.labels, 1);
    say(`${best.label}, ${percent(best.share)}`);
    byId("answer").scrollIntoView({ block: "nearest", behavior: calm() });
  } catch (error) {
    say(`${path}: ${error.message}`, true);
  }
}

const calm = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");

// The 95 % interval of a share (Wilson).
function wilson(right, n) {
  const z = 1.959964, p = right / n, square = z * z;
  const centre = (p + square / (2 * n)) / (1 + square / n);
  const half = z / (1 + square / n) * Math.sqrt(p * (1 - p) / n + square / (4 * n * n));
  return `${(Math.max(0, centre - half) * 100).toFixed(1)}–${(Math.min(1, centre + half) * 100).toFixed(1)}`;
}

async function batch(items) {
  stopped = false;
  const mine = taken;
  const files = chosen();
  const score = new Map(files.map((file) => [file, { n: 0, right: 0, seen: 0, ms: 0 }]));
  const rows = [];
  const bar = byId("batch-bar");
  bar.max = items.length;
  bar.hidden = byId("stop").hidden = false;
  let bad = 0;
  for (const [index, { file, path, label }] of items.entries()) {
    if (stopped) break;
    bar.value = index;
    say(`Image ${index + 1} of ${items.length}`);
    try {
      const answer = await ask("classify", { blob: file, files });
      if (mine !== taken) return;
      showAnswer(path, answer);
      rows.push([path, label || "–", ...answer.results.map((result) => {
        const [best] = ranked(result.logits, bundle.labels, 1);
        const sum = score.get(result.file);
        sum.seen += 1;
        sum.ms += result.milliseconds;
        if (label) {
          sum.n += 1;
          sum.right += best.label === label;
        }
        return `${best.label} ${percent(best.share, 0)}`;
      })]);
    } catch (error) {
      if (mine !== taken) return;
      bad += 1;
      rows.push([path, label || "–", error.message]);
    }
  }
  bar.hidden = byId("stop").hidden = true;
  table(byId("accuracy"), "Accuracy by the names of the folders",
    ["Model", "Images", "Right", "Top-1", "95 % interval", "Time an image"],
    files.map((file) => {
      const { n, right, seen, ms: total } = score.get(file);
      return [titleOf(file), String(n || seen), n ? String(right) : "–", n ? percent(right / n) : "–",
        n ? wilson(right, n) : "–", seen ? ms(total / seen) : "–"];
    }));
  table(byId("rows"), `${rows.length} images`, ["Image", "Folder", ...files.map(titleOf)], rows);
  const done = `${rows.length - bad} of ${items.length} images classified${bad ? `, ${bad} unreadable` : ""}.`;
  byId("batch-text").textContent = done;
  say(done, bad > 0);
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, path: entry.fullPath.replace(/^\//, "") });
  } else if (entry.isDirectory) {
    const reader = entry.createReader();
    for (;;) { // it answers in portions
      const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!part.length) break;
      for (const one of part) await walk(one, found);
    }
  }
}

function listed(files) {
  return [...files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

const takeFound = (found) => {
  const several = found.length > 1;
  const images = found.filter(({ file, path }) => !several
    || file.type.startsWith("image/") || /\.(jpe?g|png|webp|gif|bmp|avif)$/i.test(path));
  if (!images.length) return say("There is no image among these files.", true);
  return take(images.map((one) => ({ ...one, label: labelOf(one.path) })));
};

function listen() {
  for (const id of ["files", "folder", "shot"]) {
    byId(id).addEventListener("change", async (event) => {
      const found = listed(event.target.files);
      event.target.value = "";
      await takeFound(found);
    });
  }
  const drop = byId("drop");
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? drop.classList.remove("over"));
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const found = entries.length ? [] : listed(event.dataTransfer.files);
    for (const entry of entries) await walk(entry, found);
    if (found.length) await takeFound(found);
  });
  document.addEventListener("paste", async (event) => {
    if (event.clipboardData.files.length) await takeFound(listed(event.clipboardData.files));
  });
  byId("stop").addEventListener("click", () => (stopped = true));
  byId("check").addEventListener("click", check);
  byId("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
  byId("camera").hidden = !navigator.mediaDevices?.getUserMedia;
}

// --- the camera --------------------------------------------------------------------------------------------

let stream = null;

async function startCamera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch (error) {
    say(`The camera is not available (${error.name}).`, true);
    return;
  }
  const video = byId("video");
  video.srcObject = stream;
  video.hidden = false;
  byId("camera").setAttribute("aria-pressed", "true");
  byId("columns").setAttribute("aria-live", "off"); // several times a second
  await video.play();
  say("Live.");
  while (stream) {
    try {
      const bitmap = await createImageBitmap(video);
      const answer = await ask("classify", { bitmap, files: chosen() }, [bitmap]);
      if (stream) showAnswer("camera", answer);
    } catch (error) {
      say(error.message, true);
      stopCamera();
    }
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  byId("video").hidden = true;
  byId("camera").setAttribute("aria-pressed", "false");
  byId("columns").setAttribute("aria-live", "polite");
}

// --- the golden images ----------------------------------------------------------------------------------

// The pixels of an .npy file of bytes.
function pixelsIn(buffer) {
  const view = new DataView(buffer);
  const wide = view.getUint8(6) > 1;
  return new Uint8Array(buffer, wide ? 12 + view.getUint32(8, true) : 10 + view.getUint16(8, true));
}

const largest = (a, b) => a.reduce((most, value, index) => Math.max(most, Math.abs(value - b[index])), 0);

/** Compares this browser with Python; also the tests call it. */
async function check() {
  const button = byId("check");
  button.disabled = true;
  const rows = [];
  let good = true;
  try {
    for (const vector of bundle.golden.vectors) {
      say(`Checking ${vector.image} …`);
      const stored = pixelsIn(await (await fetch(`golden/${vector.pixels}`)).arrayBuffer());
      const blob = await (await fetch(`golden/${vector.image}`)).blob();
      const { pixels } = await ask("classify", { blob, files: [] });
      const { results } = await ask("replay", { pixels: stored, files: chosen() });
      const off = largest(pixels, stored);
      good &&= off <= bundle.golden.pixel_tolerance;
      rows.push([vector.image, `${off} of 255`, ...results.map(({ file, logits }) => {
        const model = bundle.models.find((one) => one.web === file).file;
        const expected = vector.logits[model];
        const limit = bundle.golden.logit_tolerance[model] * Math.max(1, ...expected.map(Math.abs));
        const difference = largest(logits, expected);
        good &&= difference <= limit;
        return difference.toExponential(1);
      })]);
    }
    table(byId("checked"), "Largest difference from Python", ["Image", "Pixels", ...chosen().map((f) => `Logits, ${titleOf(f)}`)], rows);
    byId("check-box").hidden = false;
    say(good ? "This browser computes what Python computed." : "This browser computes something else than Python.", !good);
  } catch (error) {
    say(error.message, true);
  }
  button.disabled = false;
}

// --- start ---------------------------------------------------------------------------------------------------

async function ready() {
  for (const file of chosen()) {
    const model = bundle.models.find((one) => one.web === file);
    say(`Loading ${model.title} (${(model.bytes / 1e6).toFixed(1)} MB) …`);
    const { milliseconds, threads } = await ask("load", { file });
    say(`Ready: ${model.title} loaded in ${ms(milliseconds)}, ${threads} thread${threads === 1 ? "" : "s"}.`);
  }
  document.body.dataset.ready = "yes";
}

// What is loaded before the service worker takes over would be missing offline.
async function keeper() {
  if (!navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register("sw.js", { type: "classic" });
    if (navigator.serviceWorker.controller) return;
    await Promise.race([
      new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true })),
      new Promise((resolve) => setTimeout(resolve, 5000)),
    ]);
  } catch (error) {
    console.warn("not stored for offline use:", error);
  }
}

try {
  await keeper();
  const answer = await fetch("bundle.json");
  if (!answer.ok) throw new Error(`bundle.json: ${answer.status}`);
  bundle = await answer.json();
  showModels();
  showCard();
  showExamples();
  await ask("start", { bundle });
  listen();
  await ready();
} catch (error) {
  say(error.message, true);
}
