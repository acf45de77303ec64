"""What the loaders made of the golden images, against what must come out: compare.py BUNDLE ANSWERS.json…"""

import json
import sys
from pathlib import Path

import numpy as np

from kdtool.bundle.proof.golden import largest_allowed, read_golden, read_npy
from kdtool.core.preprocess import decode
from kdtool.runtime.classify import softmax
from kdtool.runtime.onnxbytes.declared import onnx_info

SHARE = 0.02  # of a probability: what a pixel that is 1 of 255 off may do
bundle, wrong = Path(sys.argv[1]), 0
golden, info = read_golden(bundle), onnx_info(bundle / "model.onnx")
rule, vectors = info.preprocess, {vector.image: vector for vector in golden.vectors}
for answers in (json.loads(Path(path).read_text()) for path in sys.argv[2:]):
    for row in answers["rows"]:
        vector, image = vectors[row["image"]], bundle / "golden" / row["image"]
        logits = np.array(vector.logits[row["file"]])
        stored = rule.normalize(read_npy(image.with_suffix(".npy"))[None]).reshape(3, -1)
        tensors = np.array([row["tensor"], row.get("own", row["tensor"])]).reshape(2, 3, -1)
        pixels, own = np.rint(np.abs(tensors - stored).max(2) * rule.std * 255).max(1)
        scores = {answer["label"]: answer["score"] for answer in row["classes"]}
        shares = softmax(logits)
        share = np.abs([scores[name] for name in info.classes] - shares).max()
        sides = decode(image.read_bytes(), image.name).size
        aside = any((int(rule.resize * side / min(sides)) - rule.size) % 4 == 3 for side in sides)
        excused = aside and answers["rounds_down"]  # its crop begins a pixel before ours
        off, most = (
            np.abs(row["logits"] - logits).max(),
            largest_allowed(golden.logit_tolerance[row["file"]], logits),
        )
        fine = off <= most and (excused or (pixels <= golden.pixel_tolerance and share <= SHARE))
        wrong += not fine
        said = [f"off by {off:.1g} of a logit, {pixels:.0f} of 255, {share:.1g} of a probability"]
        said += ["cropped a pixel aside"] * excused + ["NOT ALLOWED"] * (not fine)
        if "own" in row:
            said += [f"its own resizing: {own:.0f} of 255, {row['best']} for {info.classes[logits.argmax()]}"]
        print(f"{answers['package']}, {row['file']}, {image.name}: {'; '.join(said)}")
if wrong:
    sys.exit(f"test-hub: {wrong} answers are further off than golden/golden.json allows")
