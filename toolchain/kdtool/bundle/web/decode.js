// Decodes an encoded image into upright RGBA pixels on white, without changing its colours.

const LIMIT = 100_000_000; // pixels

/**
 * @param {Blob} blob
 * @returns {Promise<{data: Uint8ClampedArray, width: number, height: number}>}
 */
export async function decode(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, {
      imageOrientation: "from-image", // applies the EXIF orientation
      colorSpaceConversion: "none",
      premultiplyAlpha: "default",
    });
  } catch {
    throw new Error("this browser cannot read the file as an image");
  }
  try {
    return pixelsOf(bitmap);
  } finally {
    bitmap.close();
  }
}

/** Returns the pixels of a bitmap or of a video frame. */
export function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  if (width * height > LIMIT) throw new Error(`the image is over the limit of ${LIMIT.toLocaleString("en")} pixels`);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  context.fillStyle = "white"; // draws transparent pixels on white
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  return { data: context.getImageData(0, 0, width, height).data, width, height };
}
