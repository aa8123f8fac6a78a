#!/usr/bin/env bash
# Installs what is needed, builds cvrun, trains the default recipe on real pictures and shows the result.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/apps/install_packages.sh"
need_packages $BUILD_PACKAGES dataset-fashion-mnist
echo "== building (the log is in $root/build/demo-build.log)"
mkdir -p "$root/build"
# Kernels for CUDA are compiled for the oldest GPU that they are for, which newer ones take as PTX: that saves two minutes.
if ! { cmake -S "$root" -B "$root/build" -G Ninja -DCVR_TESTS=OFF -DCVR_CUDA_ARCHS=75 && cmake --build "$root/build"; } >"$root/build/demo-build.log" 2>&1; then
  tail -n 30 "$root/build/demo-build.log" >&2
  exit 1
fi
echo "== training on Fashion-MNIST: 60,000 pictures of clothes, 10 classes"
cd "$root"
build/bin/cvrun train apps/recipes/fashion-mnist.ini "$@" | tee build/demo.log
run=$(sed -n 's/^run folder: //p' build/demo.log | tail -n 1)
echo
echo "== what is in the run folder $run"
ls "$run" "$run/weights"
echo
echo "Look at $run/results.png, confusion_matrix.png and val_batch0.png."
echo "Try: build/bin/cvrun val $run"
