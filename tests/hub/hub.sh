#!/bin/sh
# Do Optimum and transformers.js load hub/ of a bundle unchanged, and answer as its golden images say?
#   tests/hub/hub.sh PYTHON FOLDER     PYTHON has kdtool[train]; both packages are installed into FOLDER
set -eu
python=$1 folder=$2 here=$(dirname "$0")
if [ ! -e "$folder/installed" ]; then
  "$python" -m venv --clear "$folder/venv"
  # Behind its own packages it sees those of PYTHON: torch, onnxruntime, Pillow.
  modules='import sysconfig; print(sysconfig.get_path("purelib"))'
  "$python" -c "$modules" >"$("$folder/venv/bin/python" -c "$modules")/behind.pth"
  "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'optimum-onnx[onnxruntime]==0.1.0'
  npm install --prefix "$folder" --ignore-scripts --no-package-lock --no-audit --no-fund @huggingface/transformers@4.3.1
  touch "$folder/installed"
fi
rm -rf "$folder/run"
"$python" -m kdtool run --out "$folder/run" --set teacher.arch=timm/test_resnet --set student.arch=timm/test_resnet \
  --set teacher.epochs=8 --set student.epochs=8 --set data.resize=36 --set quantize.max_drop=100 \
  --set bench.seconds=0 --set bench.batch=0 --set bench.cold_starts=0 >"$folder/run.log" 2>&1 || { cat "$folder/run.log" >&2; exit 1; }
"$python" -m kdtool bundle "$folder/run"
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error \
  "$folder/venv/bin/python" "$here/optimum_answers.py" "$folder/run/bundle" >"$folder/optimum.json"
cp "$here/transformersjs_answers.mjs" "$folder/"  # node looks for packages beside the script
node --no-warnings "$folder/transformersjs_answers.mjs" "$folder/run/bundle" >"$folder/transformersjs.json"
"$python" "$here/compare.py" "$folder/run/bundle" "$folder/optimum.json" "$folder/transformersjs.json"
