// Sends requests to the worker; each request returns a promise of the worker's answer.

import { say } from "./state.js";

const engine = new Worker("engine.js", { type: "module" });
const waiting = new Map();
let serial = 0;

engine.onmessage = ({ data }) => {
  const { resolve, reject } = waiting.get(data.id);
  waiting.delete(data.id);
  if (data.error === undefined) resolve(data.value);
  else reject(new Error(data.error));
};
engine.onerror = (event) => say(`The worker cannot start (${event.message ?? "the browser blocks it"}).`, true);

export function ask(action, content = {}, transfer = []) {
  return new Promise((resolve, reject) => {
    waiting.set(++serial, { resolve, reject });
    engine.postMessage({ id: serial, action, ...content }, transfer);
  });
}
