#!/bin/sh
# The device path on 64-bit ARM, without one: an emulated Debian (debootstrap, qemu-user-static, binfmt_misc)
# in which pip installs the wheel with its aarch64 dependencies, and doctor, bench, predict and verify work on a run
# made here. Its answers must be those of this machine within tolerance. Its latencies mean nothing.
#
#   tests/device/arm64.sh PYTHON FOLDER     as root; PYTHON has kdtool[train] and build; FOLDER keeps the system
#
# The first time takes long: Debian is installed through the emulator. Deleting FOLDER starts from nothing.
set -eu

python=$1
folder=$2
here=$(dirname "$0")
suite=bookworm        # its Python is 3.11
root=$folder/root
exchange=$root/exchange

stop() {
  echo "test-arm64: $1" >&2
  exit 5
}

[ "$(id -u)" = 0 ] || stop 'needs root, for debootstrap, chroot and binfmt_misc: sudo make test-arm64'
for program in debootstrap qemu-aarch64-static update-binfmts unshare; do
  command -v "$program" >/dev/null ||
    stop "$program is missing: apt-get install debootstrap qemu-user-static binfmt-support util-linux"
done

# Mounts of our own, gone when we are.
if [ -z "${KDTOOL_ARM64_MOUNTS:-}" ]; then
  KDTOOL_ARM64_MOUNTS=own exec unshare --mount "$0" "$@"
fi
[ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
update-binfmts --enable qemu-aarch64

mkdir -p "$folder"
if [ ! -e "$folder/root.complete" ]; then
  echo '== Debian for arm64'
  rm -rf "$root"
  debootstrap --arch=arm64 --variant=minbase --include=python3,python3-venv "$suite" "$root" >"$folder/debootstrap.log" ||
    stop "debootstrap failed: see $folder/debootstrap.log"
  touch "$folder/root.complete"
fi

echo '== the wheel and its aarch64 dependencies'
rm -rf "$exchange" "$folder/wheels"
mkdir -p "$exchange" "$folder/wheels"
"$python" -m build --wheel --no-isolation --outdir "$folder/wheels" . >"$folder/build.log"
"$python" -m pip download --quiet --dest "$folder/wheels" --only-binary=:all: --python-version 3.11 \
  --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 "$folder"/wheels/kdtool-*.whl
cp -r "$folder/wheels" "$exchange/wheels"

echo '== a run of the embedded digits, made on this machine'
if [ ! -e "$folder/run/report.html" ]; then
  "$python" -m kdtool run --out "$folder/run" --set teacher.arch=timm/test_resnet --set student.arch=timm/test_resnet \
    --set teacher.epochs=1 --set student.epochs=1 --set quantize.target=arm --set quantize.max_drop=100 \
    --set bench.seconds=0 --set bench.batch=0 --set bench.cold_starts=0 >"$folder/run.log"
fi
"$python" -m kdtool quantize "$folder/run" --target arm  # skipped where that was done
mkdir "$exchange/run"
cp -r "$folder/run/run.json" "$folder/run/data" "$folder/run/onnx" "$exchange/run/"
"$python" -m kdtool bundle "$folder/run"
cp -r "$folder/run/bundle" "$exchange/run/"
cp "$here/answers.py" "$here/on_device.sh" "$exchange/"
"$python" "$here/answers.py" "$exchange/run" "$folder/here.npz" "$exchange/pictures"

echo '== on the emulated device'
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
# No /sys: what it says of an x86 processor makes ONNX Runtime for ARM crash while it loads.
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin KDTOOL_EMULATED=1 chroot "$root" /bin/sh /exchange/on_device.sh  # nothing of our settings

echo '== its answers against those of this machine'
"$python" "$here/compare.py" "$folder/here.npz" "$exchange/there.npz" "$exchange/bench.json" "$exchange/predict.json"
