#!/usr/bin/env bash
# Training ResNet-50 with 256 pictures a step: images a second, share of the roof and memory, beside PyTorch's (eager with channels_last,
# and torch.compile), where PyTorch can be installed. Options are in gpu.sh.
# shellcheck source-path=SCRIPTDIR source=gpu.sh
. "$(dirname "${BASH_SOURCE[0]}")/gpu.sh"

model=resnet50 batch=256 size=224 precisions='f16 bf16 tf32 f32'
[ -z "$dry" ] || { model=resnet18_cifar batch=2 size=16 precisions='bf16 f32'; }
python=${GPU_PYTHON:-$results/venv/bin/python}
if [ -z "${GPU_PYTHON:-}" ] && [ ! -e "$python" ] && python3 -c 'import torch, torchvision' 2>/dev/null; then python=python3; fi

# $GPU_PYTHON, or the machine's own where it has PyTorch, or an environment of our own.
pytorch() {
  "$python" -c 'import torch, torchvision; print(torch.__version__)' 2>/dev/null && return
  [ -z "${GPU_PYTHON:-}" ] || { echo "$GPU_PYTHON has no PyTorch"; return 77; }
  if ! { python3 -m venv "$results/venv" && limited 200 "$python" -m pip install --quiet torch torchvision; }; then
    [ "$(left)" -gt 0 ] || return 124
    echo 'PyTorch does not install here'
    return 77
  fi
  "$python" -c 'import torch; print(torch.__version__)'
}

# torch MODE PRECISION
torch() {
  "$python" -c 'import torch, torchvision' 2>/dev/null || { echo 'no PyTorch'; return 77; }
  limited 150 "$python" "$gpu_here/torch_speed.py" "$model" "$batch" "$size" "$1" "$2"
}

# compare PRECISION: our speed beside the best of PyTorch's, and memory. Whether it is enough, who reads it judges.
compare() {
  awk -F '\t' -v wanted="$1" '
    $2 != "ok" {next}
    $1 == "cvrun-" wanted {split($3, a, " "); ours = a[1]; for (i = 2; i in a; i++) if (a[i] == "bytes") memory = a[i - 1]}
    $1 ~ "^torch-.*-" wanted "$" {split($3, a, " "); if (a[1] > best) {best = a[1]; theirs = 0; for (i = 2; i in a; i++) if (a[i] == "bytes") theirs = a[i - 1]}}
    END {
      if (!ours || !best) {print "one side has no figure"; exit 77}
      printf "%s: %.2f times the speed of PyTorch'"'"'s best mode", wanted, ours / best
      if (theirs) printf ", %.2f times its memory", memory / theirs
      print ""
    }' "$table"
}

for precision in $precisions; do step "cvrun-$precision" bench resnet50 "$model" classify "$batch" "$size" "$precision"; done
step pytorch pytorch
for precision in $precisions; do
  step "torch-eager-$precision" torch eager "$precision"
  step "torch-compile-$precision" torch compile "$precision"
  step "compared-$precision" compare "$precision"
done
finish
