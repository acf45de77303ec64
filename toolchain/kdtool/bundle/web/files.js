// Turns files and folders, chosen or dropped, into a list of images with their paths and classes.

import { state } from "./state.js";

// Returns the class after which the nearest folder is named. macOS writes "ö" as "o" and an accent: normalize both.
function labelOf(path) {
  for (const folder of path.split("/").slice(0, -1).reverse()) {
    const label = state.bundle.labels.find((name) => name.normalize() === folder.normalize());
    if (label !== undefined) return label;
  }
  return "";
}

/** Appends the files of a dropped file or folder to `files`. */
export async function walk(entry, files) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    files.push({ file, path: entry.fullPath.replace(/^\//, "") });
  } else if (entry.isDirectory) {
    const reader = entry.createReader();
    for (;;) { // readEntries returns some entries at a time
      const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!entries.length) break;
      for (const child of entries) await walk(child, files);
    }
  }
}

export function listed(files) {
  return [...files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

/** Returns the images among `files`, by type and name; a single file is always tried. */
export function imagesAmong(files) {
  const several = files.length > 1;
  return files
    .filter(({ file, path }) => !several
      || file.type.startsWith("image/") || /\.(jpe?g|png|webp|gif|bmp|avif)$/i.test(path))
    .map((image) => ({ ...image, label: labelOf(image.path) }));
}
