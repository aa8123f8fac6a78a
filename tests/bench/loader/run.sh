#!/usr/bin/env bash
# Speed of the data path against torchvision's: makes 400 pictures and prints the table of compare.py.
#
#   tests/bench/loader/run.sh BUILD_DIR [PYTHON] [ROUNDS]
#
# BUILD_DIR has bin/loader_bench (built with the tests); PYTHON has torch, torchvision, numpy and Pillow.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${1:?"usage: run.sh BUILD_DIR [PYTHON] [ROUNDS]"}
python=${2:-python3}
rounds=${3:-5}
[ -x "$build/bin/loader_bench" ] || { echo "run.sh: no $build/bin/loader_bench; build the target loader_bench" >&2; exit 1; }
"$python" -c 'import numpy, PIL, torch, torchvision' || { echo "run.sh: $python needs torch, torchvision, numpy and Pillow" >&2; exit 1; }
pictures=$(mktemp -d)
trap 'rm -rf "$pictures"' EXIT
"$python" "$here/pictures.py" "$pictures" 400
"$python" "$here/compare.py" "$build/bin/loader_bench" "$pictures" "$rounds"
