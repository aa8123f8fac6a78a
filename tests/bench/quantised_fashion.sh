#!/usr/bin/env bash
# What quantisation costs on Fashion-MNIST (Debian package dataset-fashion-mnist), all 10,000 pictures of its validation: the demo's network and
# ResNet-18 are trained, quantised, and trained for integers. By ptq at most 0.3 points of top-1 may be lost, by qat 0.2.
#   tests/bench/quantised_fashion.sh build/bin/cvrun [WORK_FOLDER] [key=value of training ...]
# Hours on two cores with the defaults; `data.limit=12000 epochs=2` gives a first look.
set -euo pipefail
cvrun=$(realpath "${1:?the cvrun to measure}")
recipes=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../../apps/recipes")
work=${2:-$(mktemp -d)}
shift $(($# > 1 ? 2 : 1))
mkdir -p "$work" && cd "$work"
cp "$recipes/fashion-mnist.ini" demo.ini
sed '/^\[net\]/,/^\[train\]/{/^\[train\]/!d}; s/^\[train\]/[model]\nname = resnet18\n[train]/; s/^img_size.*//; s/^\[data\]/[data]\nimg_size = 28/' demo.ini >resnet18.ini
top1() { sed -n 's/^top1 *\([0-9.]*\) *\([0-9.]*\).*/\1 \2/p' "$1"; }
bad=0
for net in demo resnet18; do
  if [ ! -f "runs/classify/$net/config.ini" ]; then
    "$cvrun" train $net.ini name=$net "$@"
  elif [ ! -f "runs/classify/$net/summary.json" ]; then
    "$cvrun" train --resume "runs/classify/$net"
  fi
  for method in ptq qat; do
    "$cvrun" quantize runs/classify/$net method=$method >$net-$method.txt
    read -r before after < <(top1 $net-$method.txt)
    most=$([ $method = ptq ] && echo 0.003 || echo 0.002)
    verdict=$(awk "BEGIN { print $before - $after <= $most ? \"ok\" : \"BAD\" }")
    echo "$net $method: top1 $before, on integers $after ($verdict)"
    [ $verdict = ok ] || bad=1
  done
done
exit $bad
