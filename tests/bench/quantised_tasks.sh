#!/usr/bin/env bash
# Detectors and segmenters on integers: each recipe of made-up scenes is trained and quantised (ptq), and its metric printed before
# and after, with the times. Exit status 1: one lost more than GOAL (0.01) of its mIoU or AP.
#
#   tests/bench/quantised_tasks.sh build/bin/cvrun "RECIPE ..." [key=value ...]
#
# RECIPE is a name in apps/recipes: segment-scenes, segment-scenes-deeplab, detect-scenes, yolox-scenes. Further settings go to the
# training: train.epochs=2 data.train_size=3000 takes minutes, and without any of them it takes an hour or more each.
set -euo pipefail
recipes=$(realpath "$(dirname "$0")/../../apps/recipes")
cvrun=$(realpath "$1") names=$2
shift 2
work=$(mktemp -d)
echo "in $work"
cd "$work"
for name in $names; do
  "$cvrun" train "$recipes/$name.ini" "$@" >"$name.train.txt"
  "$cvrun" quantize runs/*/"$name" >"$name.quantize.txt"
done
python3 - $names <<'PY'
import glob, json, os, sys
goal, bad = float(os.environ.get("GOAL", "0.01")), False
for name in sys.argv[1:]:
    c = json.load(open(glob.glob(f"runs/*/{name}-quantized/compress.json")[0]))
    b, a = c["before"], c["after"]
    chief = b["metric"]
    lost = b["metrics"][chief] - a["metrics"][chief]
    times = ", ".join(f"batch {n}: {b[f'ms_batch{n}']:.1f} became {a[f'ms_batch{n}']:.1f} ms" for n in (1, 32))
    print(f"{name}: {chief} {b['metrics'][chief]:.4f} became {a['metrics'][chief]:.4f}, parameters {b['params']} became {a['params']}; {times}")
    bad |= lost > goal
sys.exit(bad)
PY
