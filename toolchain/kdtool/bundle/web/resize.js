// Resizes as Pillow does: antialiased, in two passes, rounded to 8 bits after each.
// A canvas does not antialias: its filter reads four pixels at any scale, which costs accuracy.
// This file uses no DOM: it runs in browsers, Node and React Native.

const BITS = 22; // fractional bits of the fixed-point weights, as in Pillow

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

// name → half width in source pixels, and the weight as a function of the distance
const FILTERS = {
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  bicubic: [2, (x) => {
    const d = Math.abs(x);
    if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
    return d < 2 ? ((2.5 - 0.5 * d) * d - 4) * d + 2 : 0;
  }],
  lanczos: [3, (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0)],
};

// For each of the outputs first … first + count − 1: the index of its first source pixel, and the weights.
function weights(filter, from, to, first, count) {
  const [reach, weight] = FILTERS[filter];
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = reach * stretch;
  const shrink = 1 / stretch; // Pillow multiplies by the inverse: a division can differ in the last bit
  const rows = [];
  for (let out = first; out < first + count; out++) {
    const centre = (out + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const stop = Math.min(from, Math.trunc(centre + support + 0.5));
    const row = new Float64Array(stop - start);
    let sum = 0;
    for (let i = 0; i < row.length; i++) {
      row[i] = weight((start + i - centre + 0.5) * shrink);
      sum += row[i];
    }
    rows.push([start, Int32Array.from(row, (w) => {
      const fixed = (sum ? w / sum : w) * (1 << BITS);
      return Math.trunc(fixed + (fixed < 0 ? -0.5 : 0.5));
    })]);
  }
  return rows;
}

const byte = (sum) => Math.min(255, Math.max(0, sum >> BITS));

// Resizes all lines in one direction: `step` from pixel to pixel of a line, `next` from line to line.
function pass(source, step, next, lines, rows, horizontal) {
  const count = rows.length;
  const result = new Uint8Array(lines * count * 3);
  for (let line = 0; line < lines; line++) {
    for (let out = 0; out < count; out++) {
      const [start, row] = rows[out];
      let red = 1 << (BITS - 1), green = red, blue = red;
      for (let i = 0, p = line * next + start * step; i < row.length; i++, p += step) {
        red += source[p] * row[i];
        green += source[p + 1] * row[i];
        blue += source[p + 2] * row[i];
      }
      const to = (horizontal ? line * count + out : out * lines + line) * 3;
      result[to] = byte(red);
      result[to + 1] = byte(green);
      result[to + 2] = byte(blue);
    }
  }
  return result;
}

// Crops to the box: a direction that needed no resizing is not cropped yet.
function cut(pixels, step, place, box) {
  const result = new Uint8Array(box.width * box.height * 3);
  for (let y = 0, to = 0; y < box.height; y++) {
    let p = ((box.top - place.top + y) * place.width + box.left - place.left) * step;
    for (let x = 0; x < box.width; x++, p += step) {
      result[to++] = pixels[p];
      result[to++] = pixels[p + 1];
      result[to++] = pixels[p + 2];
    }
  }
  return result;
}

function nearest(source, channels, width, height, size, box) {
  const places = (from, to, first, count) => {
    const indices = [], scale = from / to;
    for (let out = 0, at = scale * 0.5; out < first + count; out++, at += scale) {
      if (out >= first) indices.push(Math.min(from - 1, Math.trunc(at)));
    }
    return indices;
  };
  const columns = places(width, size.width, box.left, box.width);
  const rows = places(height, size.height, box.top, box.height);
  const result = new Uint8Array(box.width * box.height * 3);
  let to = 0;
  for (const y of rows) {
    for (const x of columns) {
      const p = (y * width + x) * channels;
      result[to++] = source[p];
      result[to++] = source[p + 1];
      result[to++] = source[p + 2];
    }
  }
  return result;
}

/**
 * Returns the part `box` of an image resized to `size`.
 *
 * @param {Uint8Array|Uint8ClampedArray} source rows of pixels, `channels` (3 or 4; the fourth is ignored) each
 * @param {{width: number, height: number}} size of the whole resized image
 * @param {{left: number, top: number, width: number, height: number}} box within it
 * @returns {Uint8Array} rows of RGB pixels
 */
export function resizeAndCrop(source, channels, width, height, filter, size, box) {
  if (filter === "nearest") return nearest(source, channels, width, height, size, box);
  if (!FILTERS[filter]) throw new Error(`unknown interpolation: ${filter}`);
  const place = { width, height, left: 0, top: 0 }; // size and position of the current pixels
  let pixels = source, step = channels;
  const across = () => {
    if (size.width === width) return;
    const rows = weights(filter, width, size.width, box.left, box.width);
    pixels = pass(pixels, step, place.width * step, place.height, rows, true);
    Object.assign(place, { width: box.width, left: box.left });
    step = 3;
  };
  const down = () => {
    if (size.height === height) return;
    const rows = weights(filter, height, size.height, box.top, box.height);
    pixels = pass(pixels, place.width * step, step, place.width, rows, false);
    Object.assign(place, { height: box.height, top: box.top });
    step = 3;
  };
  // The order of the passes changes the rounding; Pillow makes the vertical pass first if it leaves fewer pixels.
  const tall = size.height < height && height - size.height > 2 * (width - size.width);
  for (const resize of tall ? [down, across] : [across, down]) resize();
  return cut(pixels, step, place, box);
}
