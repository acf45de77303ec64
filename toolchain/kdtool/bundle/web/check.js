// Does this browser compute what Python computed? The golden images say.

import { ask } from "./client.js";
import { byId, table } from "./dom.js";
import { chosen, say, state, titleOf } from "./state.js";

// The pixels of an .npy file of bytes.
function pixelsIn(buffer) {
  const view = new DataView(buffer);
  const wide = view.getUint8(6) > 1;
  return new Uint8Array(buffer, wide ? 12 + view.getUint32(8, true) : 10 + view.getUint16(8, true));
}

const largest = (a, b) => a.reduce((most, value, index) => Math.max(most, Math.abs(value - b[index])), 0);

/** Compares this browser with Python. */
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
      const off = largest(pixels, stored);
      good &&= off <= state.bundle.golden.pixel_tolerance;
      rows.push([vector.image, `${off} of 255`, ...results.map(({ file, logits }) => {
        const model = state.bundle.models.find((one) => one.web === file).file;
        const expected = vector.logits[model];
        const limit = state.bundle.golden.logit_tolerance[model] * Math.max(1, ...expected.map(Math.abs));
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
