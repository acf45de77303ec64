// Compares the pixels and logits of this browser with those of Python, on the golden images.

import { ask } from "./client.js";
import { byId, table } from "./dom.js";
import { chosen, say, state, titleOf } from "./state.js";

// Returns the pixels of an .npy file of 8-bit values.
function pixelsIn(buffer) {
  const view = new DataView(buffer);
  const wide = view.getUint8(6) > 1;
  return new Uint8Array(buffer, wide ? 12 + view.getUint32(8, true) : 10 + view.getUint16(8, true));
}

const largest = (a, b) => a.reduce((most, value, index) => Math.max(most, Math.abs(value - b[index])), 0);

/** Runs the comparison and shows the table of differences. */
export async function check() {
  const button = byId("check");
  button.disabled = true;
  const rows = [];
  let good = true;
  try {
    for (const vector of state.bundle.golden.vectors) {
      say(`Checking ${vector.image} …`);
      const stored = pixelsIn(await (await fetch(`golden/${vector.pixels}`)).arrayBuffer());
      const blob = await (await fetch(`golden/${vector.image}`)).blob();
      const { pixels } = await ask("classify", { blob, files: [] });
      const { results } = await ask("replay", { pixels: stored, files: chosen() });
      const pixelDifference = largest(pixels, stored);
      good &&= pixelDifference <= state.bundle.golden.pixel_tolerance;
      rows.push([vector.image, `${pixelDifference} of 255`, ...results.map(({ file, logits }) => {
        const model = state.bundle.models.find(({ web }) => web === file).file;
        const expected = vector.logits[model];
        const limit = state.bundle.golden.logit_tolerance[model] * Math.max(1, ...expected.map(Math.abs));
        const difference = largest(logits, expected);
        good &&= difference <= limit;
        return difference.toExponential(1);
      })]);
    }
    table(byId("checked"), "Largest difference from Python", ["Image", "Pixels", ...chosen().map((f) => `Logits, ${titleOf(f)}`)], rows);
    byId("check-box").hidden = false;
    say(good ? "This browser computes what Python computed." : "This browser and Python compute different results.", !good);
  } catch (error) {
    say(error.message, true);
  }
  button.disabled = false;
}
