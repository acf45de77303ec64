#!/bin/sh
# Inside the emulated Debian, or on a real device: /exchange holds the wheels and a run.
set -eu
cd /exchange
export HOME=/root LC_ALL=C.UTF-8

uname -m
[ -x /opt/kdtool/bin/pip ] || python3 -m venv /opt/kdtool
/opt/kdtool/bin/pip install --quiet --disable-pip-version-check --no-index --find-links wheels --force-reinstall --no-deps kdtool
/opt/kdtool/bin/pip install --quiet --disable-pip-version-check --no-index --find-links wheels kdtool
kdtool=/opt/kdtool/bin/kdtool

$kdtool doctor run
$kdtool bench run --quick --runs 64 --threads 1
cp run/bench.json bench.json
$kdtool predict pictures --model run/onnx/student.onnx --json >predict.json
/opt/kdtool/bin/python answers.py run there.npz
$kdtool verify run/bundle
