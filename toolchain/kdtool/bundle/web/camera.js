// Classifies the camera's frames, one after the other.

import { showPrediction } from "./prediction.js";
import { ask } from "./client.js";
import { byId } from "./dom.js";
import { chosen, say } from "./state.js";

let stream = null;

async function startCamera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch (error) {
    say(`The camera is not available (${error.name}).`, true);
    return;
  }
  const video = byId("video");
  video.srcObject = stream;
  video.hidden = false;
  byId("camera").setAttribute("aria-pressed", "true");
  byId("columns").setAttribute("aria-live", "off"); // a screen reader cannot read several predictions a second
  await video.play();
  say("The camera is live.");
  while (stream) {
    try {
      const bitmap = await createImageBitmap(video);
      const classified = await ask("classify", { bitmap, files: chosen() }, [bitmap]);
      if (stream) showPrediction("camera", classified);
    } catch (error) {
      say(error.message, true);
      stopCamera();
    }
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
}

export function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  byId("video").hidden = true;
  byId("camera").setAttribute("aria-pressed", "false");
  byId("columns").setAttribute("aria-live", "polite");
}

export const toggleCamera = () => (stream ? stopCamera() : startCamera());
