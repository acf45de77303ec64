// The worker: decodes, preprocesses and runs the models, so that the page never stands still.

import { decode, pixelsOf } from "./decode.js";
import { toInput, toPixels } from "./preprocess.js";

let ort = null;
let bundle = null;
const sessions = new Map();

// Bytes from elsewhere are taken only with the hash they were pinned to.
async function pinned(file) {
  try {
    const answer = await fetch(file.url, { integrity: file.integrity, mode: "cors", credentials: "omit" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return await answer.arrayBuffer();
  } catch (error) { // no network, or bytes of another hash: the browser does not tell which
    throw new Error(`The runtime cannot be had from ${file.url} (${error.message}). To make a page that brings it `
      + `along: npm install onnxruntime-web@${bundle.runtime.version}, then kdtool bundle`);
  }
}

async function loadRuntime() {
  if (ort) return;
  const { runtime } = bundle;
  if (runtime.local) {
    ort = await import(new URL(runtime.module.url, self.location.href).href);
    ort.env.wasm.wasmPaths = { wasm: new URL(runtime.wasm.url, self.location.href).href };
  } else {
    const script = new Blob([await pinned(runtime.module)], { type: "text/javascript" });
    const address = URL.createObjectURL(script);
    ort = await import(address);
    URL.revokeObjectURL(address);
    ort.env.wasm.wasmBinary = await pinned(runtime.wasm);
  }
  const threads = self.crossOriginIsolated && runtime.local ? navigator.hardwareConcurrency || 1 : 1;
  ort.env.wasm.numThreads = Math.min(4, threads);
  ort.env.logLevel = "error";
}

async function open(file) {
  if (!sessions.has(file)) {
    await loadRuntime();
    const answer = await fetch(file);
    if (!answer.ok) throw new Error(`${file}: ${answer.status}`);
    const session = await ort.InferenceSession.create(new Uint8Array(await answer.arrayBuffer()), {
      executionProviders: ["wasm"], graphOptimizationLevel: "all",
    });
    sessions.set(file, session);
  }
  return sessions.get(file);
}

async function infer(pixels, file) {
  const model = bundle.models.find((one) => one.web === file);
  const session = await open(file);
  const [type, data, shape] = toInput(pixels, bundle.preprocess, model.input);
  const begin = performance.now();
  const answers = await session.run({ [model.input.name]: new ort.Tensor(type, data, shape) });
  const milliseconds = performance.now() - begin;
  const output = answers.logits ?? answers[session.outputNames[0]];
  return { file, logits: Array.from(output.data), milliseconds };
}

const ACTIONS = {
  async start({ bundle: content }) {
    bundle = content;
  },
  async load({ file }) {
    const begin = performance.now();
    await open(file);
    return { milliseconds: performance.now() - begin, threads: ort.env.wasm.numThreads };
  },
  async classify({ blob, bitmap, files }) {
    const begin = performance.now();
    const image = bitmap ? pixelsOf(bitmap) : await decode(blob);
    bitmap?.close();
    const pixels = toPixels(image.data, 4, image.width, image.height, bundle.preprocess);
    const prepared = performance.now() - begin;
    const results = [];
    for (const file of files) results.push(await infer(pixels, file));
    return { pixels, width: image.width, height: image.height, prepared, results };
  },
  // The logits of stored pixels: preprocessing has no part in them.
  async replay({ pixels, files }) {
    const results = [];
    for (const file of files) results.push(await infer(pixels, file));
    return { results };
  },
};

let queue = Promise.resolve(); // one thing after the other: a time measured is that of one image
self.onmessage = ({ data }) => {
  queue = queue.then(async () => {
    try {
      self.postMessage({ id: data.id, value: await ACTIONS[data.action](data) });
    } catch (error) {
      self.postMessage({ id: data.id, error: String(error?.message ?? error) });
    }
  });
};
