// State and functions that the whole page shares: the bundle, the chosen models, and the status line.

import { byId, visible } from "./dom.js";

export const state = { bundle: null };

export function say(text, bad = false) {
  byId("status").textContent = visible(text);
  byId("status").classList.toggle("bad", bad);
}

export const chosen = () => [...document.querySelectorAll("#models input:checked")].map((box) => box.value);
export const titleOf = (file) => state.bundle.models.find((model) => model.web === file).title;
