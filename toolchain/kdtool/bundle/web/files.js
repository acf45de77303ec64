// Files and folders, chosen or dropped, as a list of images with their paths and classes.

import { state } from "./state.js";

// A class is the nearest folder of that name, however the system composes its letters.
function labelOf(path) {
  for (const folder of path.split("/").slice(0, -1).reverse()) {
    const label = state.bundle.labels.find((one) => one.normalize() === folder.normalize());
    if (label !== undefined) return label;
  }
  return "";
}

export async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, path: entry.fullPath.replace(/^\//, "") });
  } else if (entry.isDirectory) {
    const reader = entry.createReader();
    for (;;) { // it answers in portions
      const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!part.length) break;
      for (const one of part) await walk(one, found);
    }
  }
}

export function listed(files) {
  return [...files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

/** The images among files: one alone is tried whatever it is called. */
export function imagesAmong(found) {
  const several = found.length > 1;
  return found
    .filter(({ file, path }) => !several
      || file.type.startsWith("image/") || /\.(jpe?g|png|webp|gif|bmp|avif)$/i.test(path))
    .map((one) => ({ ...one, label: labelOf(one.path) }));
}
