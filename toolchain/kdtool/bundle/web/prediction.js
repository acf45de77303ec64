// Shows the predictions for one image: the pixels that the models saw, and the most likely classes of each model.

import { byId, element, ms, name, percent } from "./dom.js";
import { ranked } from "./preprocess.js";
import { state, titleOf } from "./state.js";

const TOP = 5;

function column(result, top = TOP) {
  const list = element("ol", "", { class: "bars" });
  for (const { label, share } of ranked(result.logits, state.bundle.labels, top)) {
    const bar = element("span", "", { class: "bar", "aria-hidden": "true" });
    bar.style.setProperty("--share", String(share));
    list.append(element("li", "", {}, name(label), element("span", percent(share), { class: "share" }), bar));
  }
  return element("div", "", { class: "column", "data-file": result.file },
    element("h3", titleOf(result.file)), list,
    element("p", `${ms(result.milliseconds)} to compute`, { class: "soft small" }));
}

export function showPrediction(path, classified) {
  byId("prediction").hidden = false;
  const side = state.bundle.preprocess.crop.size;
  const canvas = byId("seen");
  canvas.width = canvas.height = side;
  canvas.classList.toggle("tiny", side < 96);
  const image = new ImageData(side, side);
  for (let i = 0; i < side * side; i++) {
    image.data.set(classified.pixels.subarray(i * 3, i * 3 + 3), i * 4);
    image.data[i * 4 + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  byId("caption").replaceChildren(name(path),
    element("span", `${classified.width} × ${classified.height}, prepared in ${ms(classified.prepared)}`));
  byId("columns").replaceChildren(...classified.results.map((result) => column(result)));
}
