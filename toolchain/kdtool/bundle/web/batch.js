// Classifies many images one after the other; measures the accuracy if their folders are named after classes.

import { showPrediction } from "./prediction.js";
import { ask } from "./client.js";
import { byId, ms, percent, table } from "./dom.js";
import { ranked } from "./preprocess.js";
import { chosen, say, state, titleOf } from "./state.js";

let stopped = false; // the button "Stop" was pressed: the results so far are shown
let current = 0; // number of the newest batch; an older one ends

/** Ends the running batch, if any, without showing its results. */
export function endBatch() {
  current += 1;
}

/** Ends the running batch and shows the results so far. */
export function stopBatch() {
  stopped = true;
}

// Returns the 95 % Wilson interval of right / n, in percent.
function wilson(right, n) {
  const z = 1.959964, p = right / n, square = z * z;
  const centre = (p + square / (2 * n)) / (1 + square / n);
  const half = z / (1 + square / n) * Math.sqrt(p * (1 - p) / n + square / (4 * n * n));
  return `${(Math.max(0, centre - half) * 100).toFixed(1)}–${(Math.min(1, centre + half) * 100).toFixed(1)}`;
}

export async function batch(items) {
  stopped = false;
  const serial = ++current;
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
      const classified = await ask("classify", { blob: file, files });
      if (serial !== current) return;
      showPrediction(path, classified);
      rows.push([path, label || "–", ...classified.results.map((result) => {
        const [best] = ranked(result.logits, state.bundle.labels, 1);
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
      if (serial !== current) return;
      bad += 1;
      rows.push([path, label || "–", error.message]);
    }
  }
  bar.hidden = byId("stop").hidden = true;
  table(byId("accuracy"), "Accuracy, with the folder names as true classes",
    ["Model", "Images", "Correct", "Top-1", "95 % interval", "Time per image"],
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
