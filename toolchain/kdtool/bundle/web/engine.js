// The worker: decodes and preprocesses images and runs the models, so that the page never freezes.

import { decode, pixelsOf } from "./decode.js";
import { toInput, toPixels } from "./preprocess.js";

let ort = null;
let bundle = null;
const sessions = new Map();

// Fetches a file of the runtime; the browser accepts the bytes only if they have the pinned hash.
async function fetchPinned(file) {
  try {
    const response = await fetch(file.url, { integrity: file.integrity, mode: "cors", credentials: "omit" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    return await response.arrayBuffer();
  } catch (error) { // no network, or bytes of another hash: the browser does not tell which
    throw new Error(`The runtime cannot be loaded from ${file.url} (${error.message}). To make a page that contains `
      + `the runtime: npm install onnxruntime-web@${bundle.runtime.version}, then kdtool bundle`);
  }
}

async function loadRuntime() {
  if (ort) return;
  const { runtime } = bundle;
  if (runtime.local) {
    ort = await import(new URL(runtime.module.url, self.location.href).href);
    ort.env.wasm.wasmPaths = { wasm: new URL(runtime.wasm.url, self.location.href).href };
  } else {
    const script = new Blob([await fetchPinned(runtime.module)], { type: "text/javascript" });
    const address = URL.createObjectURL(script);
    ort = await import(address);
    URL.revokeObjectURL(address);
    ort.env.wasm.wasmBinary = await fetchPinned(runtime.wasm);
  }
  const threads = self.crossOriginIsolated && runtime.local ? navigator.hardwareConcurrency || 1 : 1;
  ort.env.wasm.numThreads = Math.min(4, threads);
  ort.env.logLevel = "error";
}

async function open(file) {
  if (!sessions.has(file)) {
    await loadRuntime();
    const response = await fetch(file);
    if (!response.ok) throw new Error(`${file} cannot be loaded (status ${response.status})`);
    const session = await ort.InferenceSession.create(new Uint8Array(await response.arrayBuffer()), {
      executionProviders: ["wasm"], graphOptimizationLevel: "all",
    });
    sessions.set(file, session);
  }
  return sessions.get(file);
}

async function infer(pixels, file) {
  const model = bundle.models.find(({ web }) => web === file);
  const session = await open(file);
  const [type, data, shape] = toInput(pixels, bundle.preprocess, model.input);
  const begin = performance.now();
  const outputs = await session.run({ [model.input.name]: new ort.Tensor(type, data, shape) });
  const milliseconds = performance.now() - begin;
  const output = outputs.logits ?? outputs[session.outputNames[0]];
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
  // Computes the logits of stored pixels, so that preprocessing does not affect them.
  async replay({ pixels, files }) {
    const results = [];
    for (const file of files) results.push(await infer(pixels, file));
    return { results };
  },
};

let queue = Promise.resolve(); // one request after the other, so that each measured time is that of one image alone
self.onmessage = ({ data }) => {
  queue = queue.then(async () => {
    try {
      self.postMessage({ id: data.id, value: await ACTIONS[data.action](data) });
    } catch (error) {
      self.postMessage({ id: data.id, error: String(error?.message ?? error) });
    }
  });
};
