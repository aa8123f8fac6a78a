#!/usr/bin/env bash
# The demo's promise: at least 91.5 % on Fashion-MNIST's test pictures.
recipes=$(cd "$(dirname "$0")/../../apps/recipes" && pwd)
. "$(dirname "$0")/lib.sh"
start=$SECONDS
"$CVRUN" train "$recipes/fashion-mnist.ini" | tee out.txt
best=$(sed -n 's/.*best top1 \([0-9.]*\) in.*/\1/p' out.txt)
awk -v b="$best" 'BEGIN {exit !(b >= 0.915)}' || fail "top1 is $best"
checks=$((checks + 1))
echo "top1 $best after $((SECONDS - start)) s"
done_with demo_test
