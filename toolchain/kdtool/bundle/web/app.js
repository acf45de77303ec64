// Starts the page: shows models, card and examples, and listens to every way of giving images.

import { showPrediction } from "./prediction.js";
import { batch, endBatch, stopBatch } from "./batch.js";
import { stopCamera, toggleCamera } from "./camera.js";
import { check } from "./check.js";
import { ask } from "./client.js";
import { byId, element, ms, name, percent, table, visible } from "./dom.js";
import { imagesAmong, listed, walk } from "./files.js";
import { ranked } from "./preprocess.js";
import { chosen, say, state } from "./state.js";

// --- shown at the start --------------------------------------------------------------------------------

function showModels() {
  const options = document.querySelector("#models .options");
  for (const [index, model] of state.bundle.models.filter(({ web }) => web).entries()) {
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
        box.checked = false; // the other models still work
        say(`${model.title}: ${error.message}`, true);
      }
    });
    const accuracy = model.accuracy === null ? "" : `, ${percent(model.accuracy)} top-1`;
    options.append(element("label", "", {}, box,
      element("span", "", {}, element("b", model.title),
        element("small", `${(model.bytes / 1e6).toFixed(1)}\u00a0MB${accuracy}`))));
  }
}

function showCard() {
  byId("title").textContent = visible(state.bundle.title);
  document.title = visible(state.bundle.title);
  const interval = (ci) => (ci ? `${(ci[0] * 100).toFixed(1)}–${(ci[1] * 100).toFixed(1)}` : "–");
  const { host, void: reasons } = state.bundle.card;
  const times = reasons.length ? `latencies on ${host} are void: ${reasons.join(", ")}`
    : `latency of one image on ${host ?? "no host"}`;
  const latency = (model, quantile) => {
    if (reasons.length) return "void";
    return model.latency ? ms(model.latency[quantile]) : "–";
  };
  table(byId("card"), `Accuracy on ${state.bundle.card.n_images ?? "no"} test images; ${times}`,
    ["Model", "Top-1", "95 % interval", "p50", "p90", "MB"],
    state.bundle.models.map((model) => [
      model.title,
      model.accuracy === null ? "–" : percent(model.accuracy),
      interval(model.accuracy_ci),
      latency(model, "p50"),
      latency(model, "p90"),
      (model.bytes / 1e6).toFixed(1),
    ]));
  for (const [term, text] of state.bundle.card.facts) {
    byId("facts").append(element("dt", term), element("dd", "", {}, name(text)));
  }
  byId("classes").append(...state.bundle.labels.map((label) => element("li", "", {}, name(label))));
}

function showExamples() {
  const list = document.querySelector("#examples ul");
  for (const vector of state.bundle.golden.vectors) {
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

// --- images ----------------------------------------------------------------------------------------------

async function take(items) {
  if (!items.length) return;
  endBatch();
  stopCamera();
  byId("batch").hidden = items.length === 1;
  if (items.length > 1) return batch(items);
  const [{ file, path }] = items;
  say("Working …");
  try {
    const classified = await ask("classify", { blob: file, files: chosen() });
    showPrediction(path, classified);
    const [best] = ranked(classified.results[0].logits, state.bundle.labels, 1);
    say(`${best.label}, ${percent(best.share)}`);
    byId("prediction").scrollIntoView({ block: "nearest", behavior: calm() });
  } catch (error) {
    say(`${path}: ${error.message}`, true);
  }
}

const calm = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");

function takeFiles(files) {
  const images = imagesAmong(files);
  if (!images.length) return say("There is no image among these files.", true);
  return take(images);
}

function listen() {
  for (const id of ["files", "folder", "shot"]) {
    byId(id).addEventListener("change", async (event) => {
      const files = listed(event.target.files);
      event.target.value = "";
      await takeFiles(files);
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
    const files = entries.length ? [] : listed(event.dataTransfer.files);
    for (const entry of entries) await walk(entry, files);
    if (files.length) await takeFiles(files);
  });
  document.addEventListener("paste", async (event) => {
    if (event.clipboardData.files.length) await takeFiles(listed(event.clipboardData.files));
  });
  byId("stop").addEventListener("click", stopBatch);
  byId("check").addEventListener("click", check);
  byId("camera").addEventListener("click", toggleCamera);
  byId("camera").hidden = !navigator.mediaDevices?.getUserMedia;
}

// --- start ---------------------------------------------------------------------------------------------------

async function ready() {
  for (const file of chosen()) {
    const model = state.bundle.models.find(({ web }) => web === file);
    say(`Loading ${model.title} (${(model.bytes / 1e6).toFixed(1)} MB) …`);
    const { milliseconds, threads } = await ask("load", { file });
    say(`Ready: ${model.title} loaded in ${ms(milliseconds)}, ${threads} thread${threads === 1 ? "" : "s"}.`);
  }
  document.body.dataset.ready = "yes";
}

// Waits for the service worker: files loaded before it takes over would be missing offline.
async function startServiceWorker() {
  if (!navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register("sw.js", { type: "classic" });
    if (navigator.serviceWorker.controller) return;
    await Promise.race([
      new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true })),
      new Promise((resolve) => setTimeout(resolve, 5000)),
    ]);
  } catch (error) {
    console.warn("The page is not stored for offline use:", error);
  }
}

try {
  await startServiceWorker();
  const response = await fetch("bundle.json");
  if (!response.ok) throw new Error(`bundle.json cannot be loaded (status ${response.status})`);
  state.bundle = await response.json();
  showModels();
  showCard();
  showExamples();
  await ask("start", { bundle: state.bundle });
  listen();
  await ready();
} catch (error) {
  say(error.message, true);
}
