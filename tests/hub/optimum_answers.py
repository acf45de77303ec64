"""What Optimum makes of the golden images: optimum_answers.py BUNDLE > ANSWERS.json"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from optimum.onnxruntime import ORTModelForImageClassification
from PIL import Image
from transformers import pipeline
from transformers.image_utils import load_image

bundle, rows = Path(sys.argv[1]), []
for file, chosen in (("model.onnx", {}), ("model.int8.onnx", {"file_name": "model_quantized.onnx"})):
    model = ORTModelForImageClassification.from_pretrained(bundle / "hub", local_files_only=True, **chosen)
    classify = pipeline("image-classification", model, image_processor=str(bundle / "hub"))
    for vector in json.loads((bundle / "golden/golden.json").read_text())["vectors"]:
        image = Image.open(bundle / "golden" / vector["image"])
        if image.has_transparency_data:  # their loading drops it
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        stored = np.load(bundle / "golden" / vector["pixels"])
        tensor = classify.image_processor(stored, do_resize=False, do_center_crop=False, return_tensors="pt")
        seen = classify.image_processor(load_image(image), return_tensors="np")["pixel_values"]
        row = {"file": file, "image": vector["image"], "logits": model(**tensor).logits[0].tolist()}
        rows.append(row | {"tensor": seen.ravel().tolist(), "classes": classify(image, top_k=10**6)})
said = f"optimum-onnx {version('optimum-onnx')}, transformers {version('transformers')}"
json.dump({"package": said, "rounds_down": True, "rows": rows}, sys.stdout)
