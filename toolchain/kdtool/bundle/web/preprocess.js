// Decoded pixels → input of the model, as preprocess.json says; logits → probabilities.
// This file uses no DOM: it runs in browsers, Node and React Native.

import { resizeAndCrop } from "./resize.js";

const halfToEven = (value) => {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
};

/** Returns the size of the resized image, and the box to crop from it. */
export function geometry(width, height, rule) {
  const side = rule.resize.shortest_side, crop = rule.crop.size;
  const long = Math.trunc(side * Math.max(width, height) / Math.min(width, height));
  const size = width <= height ? { width: side, height: long } : { width: long, height: side };
  const left = halfToEven((size.width - crop) / 2), top = halfToEven((size.height - crop) / 2);
  return { size, box: { left, top, width: crop, height: crop } };
}

/** Resizes and crops decoded pixels (3 or 4 channels, upright, opaque) → size × size × 3 bytes. */
export function toPixels(source, channels, width, height, rule) {
  const { size, box } = geometry(width, height, rule);
  return resizeAndCrop(source, channels, width, height, rule.resize.interpolation, size, box);
}

/** Normalizes the bytes of `toPixels` → float32, channel by channel: x = ((v / 255) − mean) / std. */
export function toTensor(pixels, rule) {
  const plane = pixels.length / 3;
  const tensor = new Float32Array(pixels.length);
  for (let channel = 0; channel < 3; channel++) {
    const mean = Math.fround(rule.mean[channel]), std = Math.fround(rule.std[channel]);
    const value = Float32Array.from({ length: 256 }, (_, v) => Math.fround(Math.fround(v / 255) - mean) / std);
    for (let i = 0; i < plane; i++) tensor[channel * plane + i] = value[pixels[i * 3 + channel]];
  }
  return tensor;
}

/** Returns the input tensor for `input` of a model in bundle.json: [type, data, shape]. */
export function toInput(pixels, rule, input) {
  const side = rule.crop.size;
  const shape = input.layout === "NHWC" ? [1, side, side, 3] : [1, 3, side, side];
  if (input.type !== "uint8") return ["float32", toTensor(pixels, rule), shape];
  if (input.layout === "NHWC") return ["uint8", pixels, shape];
  const planes = new Uint8Array(pixels.length), plane = pixels.length / 3;
  for (let i = 0; i < pixels.length; i++) planes[(i % 3) * plane + Math.trunc(i / 3)] = pixels[i];
  return ["uint8", planes, shape];
}

/** Converts logits to probabilities. */
export function softmax(logits) {
  const largest = Math.max(...logits);
  const shares = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => share / sum);
}

/** Returns the `count` most likely classes, the most likely first; equal ones in the order of the classes. */
export function ranked(logits, labels, count) {
  return softmax(logits)
    .map((share, index) => ({ index, label: labels[index], share }))
    .sort((a, b) => b.share - a.share || a.index - b.index)
    .slice(0, count);
}
