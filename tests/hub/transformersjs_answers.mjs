// What transformers.js makes of the golden images: transformersjs_answers.mjs BUNDLE > ANSWERS.json
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { env, pipeline, RawImage } from "@huggingface/transformers";
import sharp from "sharp";

const bundle = resolve(process.argv[2]), rows = [];
const { toPixels } = await import(`${bundle}/hub/js/preprocess.js`), json = (name) => JSON.parse(readFileSync(`${bundle}/${name}`));
const rule = json("hub/preprocess.json"), side = rule.crop.size;
Object.assign(env, { allowRemoteModels: false, localModelPath: bundle });
for (const [file, options] of [["model.onnx", {}], ["model.int8.onnx", { dtype: "q8" }]]) {
  const classify = await pipeline("image-classification", "hub", options);
  for (const { image, pixels } of json("golden/golden.json").vectors) {
    const path = `${bundle}/golden/${image}`, steps = classify.processor.image_processor;
    Object.assign(steps, { do_resize: true, do_center_crop: true });
    const raw = await RawImage.read(path), [{ label: best }] = await classify(raw);
    const own = Array.from((await classify.processor(raw)).pixel_values.data);
    Object.assign(steps, { do_resize: false, do_center_crop: false }); // as the README says
    const decoded = sharp(path).rotate().flatten({ background: "white" }).raw();
    const { data, info } = await decoded.toBuffer({ resolveWithObject: true });
    const picture = new RawImage(toPixels(data, info.channels, info.width, info.height, rule), side, side, 3);
    const tensor = Array.from((await classify.processor(picture)).pixel_values.data);
    const stored = readFileSync(`${bundle}/golden/${pixels}`).subarray(-3 * side * side);
    const { pixel_values } = await classify.processor(new RawImage(stored, side, side, 3));
    const logits = Array.from((await classify.model({ pixel_values })).logits.data);
    rows.push({ file, image, logits, tensor, own, best, classes: await classify(picture, { top_k: null }) });
  }
}
console.log(JSON.stringify({ package: `transformers.js ${env.version}`, rounds_down: false, rows }));
