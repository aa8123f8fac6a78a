#!/usr/bin/env bash
# The losses of 50 steps of the demo's and the article's networks follow PyTorch's (tests/golden/curve_*.csv) to 1e-4, relative.
# tests/parity/loss_curves.py made those from the same weights and pictures.
recipes=$(cd "$(dirname "$0")/../../apps/recipes" && pwd)
. "$(dirname "$0")/lib.sh"
golden=$here/../golden
data=/usr/share/datasets/fashion-mnist
[ -d "$data" ] || fail "$data is missing: install dataset-fashion-mnist"

# cut FILE HEAD ITEM N: the first N items as an IDX file of their own
cut_idx() {
  { gunzip -c "$data/$1.gz" | head -c 4 || true
    printf "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($4 >> 24 & 255)) $(($4 >> 16 & 255)) $(($4 >> 8 & 255)) $(($4 & 255)))"
    { gunzip -c "$data/$1.gz" 2>/dev/null || true; } | head -c $(($2 + $3 * $4)) | tail -c +9; } >"$1"
}

curve() { # NAME RECIPE BATCH setting...
  local name=$1 recipe=$2 batch=$3; shift 3
  set +o pipefail
  cut_idx train-images-idx3-ubyte 16 784 $((50 * batch))
  cut_idx train-labels-idx1-ubyte 8 1 $((50 * batch))
  set -o pipefail
  sed -e '/^\[augment\]/,/^\[/{/^\[augment\]/d;/^\[/!d}' -e '/= dropout/d' "$recipes/$recipe" >"$name.ini"
  "$CVRUN" train "$name.ini" "name=$name" "data.root=$work" data.shuffle=no val.interval=0 epochs=1 "batch=$batch" "$@" >log.txt 2>&1 || { cat log.txt; fail "$name"; }
  paste -d, <(tail -n +2 "$golden/curve_$name.csv") <(tail -n +2 "runs/classify/$name/steps.csv") |
    awk -F, -v name="$name" '{d = ($5 - $2) / $2; if (d < 0) d = -d; if (d > worst) worst = d; if ($1 != $3) exit 1; n++}
      END {print name ": " n " steps, largest relative difference " worst; exit !(n == 50 && worst < 1e-4)}' || fail "$name leaves PyTorch's curve"
  checks=$((checks + 1))
}
curve demo fashion-mnist.ini 128 lr=0.001 sched.name=constant sched.warmup_epochs=0
curve article article.ini 32 lr=0.00005
# the last batch of an epoch has fewer pictures, and none is counted twice
sed -e "s|^root = .*|root = $data|" "$recipes/fashion-mnist.ini" >last.ini
"$CVRUN" train last.ini name=last epochs=1 batch=128 data.limit=300 >log.txt 2>&1 || { cat log.txt; fail "a last batch of 44"; }
[ "$(awk -F, 'NR > 1 {for (i = 2; i <= NF; i++) n += $i} END {print n}' runs/classify/last/confusion_matrix.csv)" = 300 ] || fail "the confusion matrix does not count 300 pictures"
checks=$((checks + 1))
done_with curve_test
