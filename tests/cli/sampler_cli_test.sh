#!/usr/bin/env bash
# train.sampler, train.repeat and train.class_weights in runs: the same bits with any workers and after an interruption in mid-epoch;
# weights that say nothing change nothing; settings that cannot be are refused.
. "$(dirname "$0")/lib.sh"
recipe small.ini
train() { "$CVRUN" train "$@" >>log.txt 2>&1 || { cat log.txt >&2; fail "train $*"; }; }
drawn=(train.sampler=balanced train.repeat=2 train.class_weights=balanced)

train small.ini name=whole "${drawn[@]}"
for workers in 0 1 2; do
  train small.ini name="w$workers" workers=$workers "${drawn[@]}"
  same runs/classify/w$workers/weights/last.safetensors runs/classify/whole/weights/last.safetensors
done
train small.ini name=plain
! cmp -s runs/classify/plain/weights/last.safetensors runs/classify/whole/weights/last.safetensors || fail "the sampler changes nothing"

# stopped in mid-epoch, and resumed; with another order it does not go on
long=(train.epochs=4 data.size=4000 val.interval=0)
train small.ini name=untouched "${drawn[@]}" "${long[@]}"
"$CVRUN" train small.ini name=term "${drawn[@]}" "${long[@]}" >>log.txt 2>&1 & pid=$!
for ((tries = 0; tries < 1000; tries++)); do
  step=$(tail -n 1 runs/classify/term/steps.csv 2>/dev/null | cut -d, -f1 || true)
  [[ $step =~ ^[0-9]+$ ]] && [ "$step" -gt 600 ] && break
  sleep 0.01
done
status=0; kill -TERM $pid 2>/dev/null || true; wait $pid || status=$?
[ $status -eq 75 ] || fail "SIGTERM gave status $status after step $step"
step=$(tail -n 1 runs/classify/term/steps.csv | cut -d, -f1)
[ $((step % 500)) -ne 0 ] || fail "SIGTERM came between epochs"
expect 2 "train.repeat: the run stopped within epoch" "$CVRUN" train --resume runs/classify/term train.repeat=1
expect 2 "train.sampler: the run stopped within epoch" "$CVRUN" train --resume runs/classify/term train.sampler=all
train --resume runs/classify/term
same runs/classify/term/weights/last.safetensors runs/classify/untouched/weights/last.safetensors

# the mean over a batch is by weight, so that a common factor is none; of shares (mixup) it is by pictures, as PyTorch has it
loss() { sed -n 2p runs/classify/$1/steps.csv | cut -d, -f3; }
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(d <= 2e-6 * (b < 0 ? -b : b)) }' || fail "$3: $1 is not $2"; }
train small.ini name=equal train.class_weights=3,3,3 train.label_smoothing=0.1
train small.ini name=smooth train.label_smoothing=0.1
near "$(loss equal)" "$(loss smooth)" "equal weights"
train small.ini name=uneven train.class_weights=1,4,0.5 train.label_smoothing=0.1
[ "$(loss uneven)" != "$(loss smooth)" ] || fail "uneven weights change nothing"
train small.ini name=mixed augment.mixup= train.label_smoothing=0.1
train small.ini name=twice augment.mixup= train.label_smoothing=0.1 train.class_weights=2,2,2
near "$(loss twice)" "$(awk -v x="$(loss mixed)" 'BEGIN { printf "%.9g", 2 * x }')" "mixed pictures"

expect 0 "each part of a batch is divided by the weights of its own pictures" "$CVRUN" train small.ini name=parts train.class_weights=1,4,0.5 train.grad_accum=2 epochs=1
expect 2 "train.class_weights = 1,2; give" "$CVRUN" train small.ini train.class_weights=1,2
expect 2 "not all of them 0" "$CVRUN" train small.ini train.class_weights=0,0,0
expect 2 "data.shuffle = no cannot be" "$CVRUN" train small.ini train.sampler=balanced data.shuffle=no
done_with sampler_cli_test
