// node agreement.mjs BUNDLE RAW ORT
// Run the golden images through the page's own modules and onnxruntime-web in Node. The folder RAW has each decoded
// image as `<image>.rgba`, and the sizes of all. Prints JSON: for each image the largest difference of its pixels from
// the stored ones, and the logits of each model file.

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [bundle, raw, ortFile] = process.argv.slice(2).map((path) => resolve(path));
const load = (path) => import(pathToFileURL(path).href);
const ort = await load(ortFile);
ort.env.wasm.numThreads = 1;
const { toInput, toPixels } = await load(join(bundle, "web/preprocess.js"));
const page = JSON.parse(readFileSync(join(bundle, "web/bundle.json"), "utf8"));
const sizes = JSON.parse(readFileSync(join(raw, "sizes.json"), "utf8"));

const answers = {};
for (const model of page.models) { // one in memory at a time
  const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(join(bundle, model.file))));
  for (const { image, pixels: stored } of page.golden.vectors) {
    const [width, height] = sizes[image];
    const pixels = toPixels(readFileSync(join(raw, `${image}.rgba`)), 4, width, height, page.preprocess);
    const npy = readFileSync(join(bundle, "golden", stored));
    const expected = npy.subarray(npy.length - pixels.length);
    const off = pixels.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
    answers[image] ??= { pixels: off, logits: {} };
    const [type, data, shape] = toInput(expected, page.preprocess, model.input);
    const outputs = await session.run({ [model.input.name]: new ort.Tensor(type, data, shape) });
    answers[image].logits[model.file] = Array.from(outputs[session.outputNames[0]].data);
  }
  await session.release();
}
console.log(JSON.stringify({ answers, runtime: ort.env.versions.web ?? ort.env.versions.common }));
