// node golden.mjs BUNDLE RAW ORT: the golden images through the page's own modules and onnxruntime-web in Node.
// RAW holds each image decoded, as `<image>.rgba`. Prints JSON: image → largest difference of a pixel, and logits.

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [bundle, raw, ortFile] = process.argv.slice(2).map((path) => resolve(path));
const load = (path) => import(pathToFileURL(path).href);
const ort = await load(ortFile);
ort.env.wasm.numThreads = 1;
const { toInput, toPixels, ranked } = await load(join(bundle, "web/preprocess.js"));
const page = JSON.parse(readFileSync(join(bundle, "web/bundle.json"), "utf8"));
const sizes = JSON.parse(readFileSync(join(raw, "sizes.json"), "utf8"));

const sessions = {};
for (const model of page.models) {
  const bytes = readFileSync(join(bundle, model.file));
  sessions[model.file] = [model, await ort.InferenceSession.create(new Uint8Array(bytes))];
}
const found = {};
for (const { image, pixels: stored } of page.golden.vectors) {
  const [width, height] = sizes[image];
  const pixels = toPixels(readFileSync(join(raw, `${image}.rgba`)), 4, width, height, page.preprocess);
  const npy = readFileSync(join(bundle, "golden", stored));
  const expected = npy.subarray(npy.length - pixels.length);
  const entry = { pixels: pixels.reduce((most, v, i) => Math.max(most, Math.abs(v - expected[i])), 0), logits: {}, best: {} };
  for (const [file, [model, session]] of Object.entries(sessions)) {
    const [type, data, shape] = toInput(pixels, page.preprocess, model.input);
    const answer = await session.run({ [model.input.name]: new ort.Tensor(type, data, shape) });
    entry.logits[file] = Array.from(answer[session.outputNames[0]].data);
    entry.best[file] = ranked(entry.logits[file], page.labels, 1)[0].label;
  }
  found[image] = entry;
}
console.log(JSON.stringify(found));
