#!/usr/bin/env bash
# Interrupt, resume, extend, workers, threads, damage: the same bits every time.
. "$(dirname "$0")/lib.sh"
recipe small.ini
train() { "$CVRUN" train "$@" >>log.txt 2>&1 || { cat log.txt >&2; fail "train $*"; }; }

train small.ini name=whole
for workers in 0 1 2 8; do
  train small.ini name="w$workers" workers=$workers
  same runs/classify/w$workers/weights/last.safetensors runs/classify/whole/weights/last.safetensors
done
for threads in 1 2 3; do
  train small.ini name="t$threads" backend.threads=$threads
  same runs/classify/t$threads/weights/last.safetensors runs/classify/whole/weights/last.safetensors
done

# SIGTERM and SIGHUP save and leave with 75, wherever in an epoch; the resumed run ends in the bits of one that nobody touched
long=(train.epochs=$([ -n "${CVR_SANITIZE:-}" ] && echo 12 || echo 60) data.size=400 val.interval=0)
train small.ini name=untouched "${long[@]}"
signals=(HUP TERM HUP)
total=$(tail -n 1 runs/classify/untouched/steps.csv | cut -d, -f1)
"$CVRUN" train small.ini name=term "${long[@]}" >>log.txt 2>&1 & pid=$!
for ((cuts = 0; cuts < 3; cuts++)); do
  for ((tries = 0; tries < 600; tries++)); do
    step=$(tail -n 1 runs/classify/term/steps.csv 2>/dev/null | cut -d, -f1 || true)
    [[ $step =~ ^[0-9]+$ ]] && [ "$step" -gt $((cuts * total / 8)) ] && break
    sleep 0.01
  done
  status=0; kill -${signals[cuts]} $pid 2>/dev/null || true; wait $pid || status=$?
  [ $status -eq 75 ] || fail "SIG${signals[cuts]} gave status $status after step $step of $total"
  step=$(tail -n 1 runs/classify/term/steps.csv | cut -d, -f1)
  [ "$step" -gt 0 ] && [ "$step" -lt "$total" ] || fail "SIG${signals[cuts]} came after step $step of $total"
  "$CVRUN" train --resume runs/classify/term >>log.txt 2>&1 & pid=$!
done
wait $pid || { tail -n 5 log.txt; fail "the run does not end after SIGTERM and resume"; }
same runs/classify/term/weights/last.safetensors runs/classify/untouched/weights/last.safetensors
same <(cut -d, -f1-4 runs/classify/term/steps.csv) <(cut -d, -f1-4 runs/classify/untouched/steps.csv)

# who stops a validation need not wait for its end; it is made anew
for ((size = 400; size < 10000; size *= 2)); do
  once=(epochs=1 batch=1 data.size=$size)
  rm -rf runs/classify/valid
  "$CVRUN" train small.ini name=valid "${once[@]}" >out.txt 2>err.txt & pid=$!
  while [ ! -f runs/classify/valid/val_batch0.png ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
  status=0; kill -INT $pid 2>/dev/null || true; wait $pid || status=$?
  [ $status -eq 0 ] || break # else it was too late
done
[ $status -eq 75 ] || fail "SIGINT in the validation gave status $status: $(cat err.txt)"
grep -q 'stopping, and saving' err.txt && grep -q "interrupted after step $size," err.txt || fail "SIGINT in the validation: $(cat err.txt)"
[ ! -e runs/classify/valid/weights/best.safetensors ] || fail "the validation went on to its end"
train --resume runs/classify/valid
train small.ini name=through "${once[@]}"
for f in weights/last.safetensors weights/best.safetensors confusion_matrix.csv; do same runs/classify/valid/$f runs/classify/through/$f; done

# a finished run says so; more epochs extend it
expect 0 "" "$CVRUN" train --resume runs/classify/whole
grep -q 'finished' out.txt || fail "a finished run does not say so"
train small.ini name=short train.epochs=2 sched.name=constant
train --resume runs/classify/short train.epochs=3
train small.ini name=long train.epochs=3 sched.name=constant
same runs/classify/short/weights/last.safetensors runs/classify/long/weights/last.safetensors

# a damaged checkpoint: the one before it counts
train small.ini name=hurt "run.save_every=1 epoch"
head -c -200 runs/classify/hurt/weights/last.state >cut && cp cut runs/classify/hurt/weights/last.state
"$CVRUN" train --resume runs/classify/hurt >out.txt 2>err.txt || { cat err.txt; fail "resume from the older checkpoint"; }
grep -q 'going on from the checkpoint before' err.txt || fail "the damaged checkpoint is not told of"
same runs/classify/hurt/weights/last.safetensors runs/classify/whole/weights/last.safetensors
cp cut runs/classify/hurt/weights/last.state; cp cut runs/classify/hurt/weights/last.state.1
expect 1 "last.state: is damaged or cut short" "$CVRUN" train --resume runs/classify/hurt

# a folder is locked while it trains
"$CVRUN" train small.ini name=locked train.epochs=4000 >>log.txt 2>&1 & pid=$!
while [ ! -f runs/classify/locked/steps.csv ] && [ ! -f runs/classify/locked/env.txt ]; do sleep 0.05; done
expect 1 "another cvrun trains in this folder" "$CVRUN" train --resume runs/classify/locked
kill -TERM $pid; wait $pid || true

# killed before its first checkpoint, a run starts over from the weights that it was given; those that are gone are missed
cp runs/classify/whole/weights/last.safetensors given.safetensors
from=(val.interval=0 model.weights=given.safetensors "run.save_every=100 min")
train small.ini name=given "${from[@]}"
"$CVRUN" train small.ini name=early "${from[@]}" epochs=4000 >>log.txt 2>&1 & pid=$!
while [ ! -f runs/classify/early/env.txt ]; do sleep 0.01; done
kill -KILL $pid; wait $pid 2>/dev/null || true
[ ! -e runs/classify/early/weights/last.state ] || fail "the run was killed after its end"
expect 0 "weights from" "$CVRUN" train --resume runs/classify/early epochs=3
same runs/classify/early/weights/last.safetensors runs/classify/given/weights/last.safetensors
# checkpoints that were taken away take nothing with them
rm runs/classify/given/weights/last.state*
cp -r runs/classify/given lost
mv given.safetensors away.safetensors
expect 1 "given.safetensors: cannot open it" "$CVRUN" train --resume runs/classify/given
mv away.safetensors given.safetensors
expect 0 "results.csv is kept as results.csv.1" "$CVRUN" train --resume runs/classify/given
for f in results.csv steps.csv weights/last.safetensors; do same runs/classify/given/$f.1 lost/$f; done
same runs/classify/given/weights/last.safetensors lost/weights/last.safetensors

# config.ini repeats the run
train runs/classify/whole/config.ini name=again
same runs/classify/again/weights/last.safetensors runs/classify/whole/weights/last.safetensors

# a run that patience or the time ended is finished as well; another value extends it
train small.ini name=patient epochs=30 lr=1e-9 run.patience=2
cp runs/classify/patient/weights/last.safetensors before
expect 0 "" "$CVRUN" train --resume runs/classify/patient
grep -q 'another run.patience extends it' out.txt || fail "a run that patience ended is not finished"
same before runs/classify/patient/weights/last.safetensors
train small.ini name=timed epochs=30 run.max_hours=1e-9
expect 0 "" "$CVRUN" train --resume runs/classify/timed
grep -q 'another run.max_hours extends it' out.txt || fail "a run that the time ended is not finished"
train --resume runs/classify/timed run.max_hours=0 epochs=2

# other batches, other data: the schedule goes on at the epoch that was reached
train small.ini name=step sched.name=step sched.steps=2 sched.gamma=0.1 sched.warmup_epochs=0 epochs=2
train --resume runs/classify/step epochs=5 batch=4 data.size=100
lrs=$(cut -d, -f4 runs/classify/step/results.csv | tail -n +2 | xargs)
[ "$lrs" = "0.05 0.05 0.005 0.005 0.0005" ] || fail "learning rates after another batch: $lrs"
checks=$((checks + 1))

# within an epoch what would leave pictures out is refused by its name, and what would not goes on
stopped() { # NAME: a run that stands after 3 batches of 8; `state` is its checkpoint, where it was stopped between two files the one before
  "$CVRUN" train small.ini name="$1" epochs=4000 data.size=400 val.interval=0 "run.save_every=3 steps" >>log.txt 2>&1 & pid=$!
  while [ ! -f "runs/classify/$1/weights/last.state" ]; do sleep 0.01; done
  kill -KILL $pid; wait $pid 2>/dev/null || true
  state=runs/classify/$1/weights/last.state
  [ -f "$state" ] || state=$state.1
}
stopped within
at=$(($(head -c 400 $state | grep -a '^batch ' | cut -d' ' -f2) * 8))
if [ "$at" -gt 0 ] && [ "$at" -lt 400 ]; then
  expect 2 'command line: train.batch: the run stopped within epoch' "$CVRUN" train --resume runs/classify/within batch=$((at + 1)) epochs=2
  expect 2 'data.root: the run stopped within epoch' "$CVRUN" train --resume runs/classify/within data.size=300
  expect 2 'command line: run.seed: the run stopped within epoch' "$CVRUN" train --resume runs/classify/within seed=8
fi
epoch=$(head -c 400 $state | grep -a '^epoch ' | cut -d' ' -f2)
train --resume runs/classify/within batch=4 epochs=$((epoch + 1))
[ "$at" -eq 0 ] || [ "$(($(tail -n 1 runs/classify/within/steps.csv | cut -d, -f1) - epoch * 50 - at / 8))" -eq $(((400 - at) / 4)) ] ||
  fail "pictures of the epoch were left out or seen twice"
checks=$((checks + 1))

# other classes: the same in another order mean the same; what the run has not, or the data has lost, is named; the run
# keeps its own
cp runs/classify/whole/classes.txt before
expect 0 "" "$CVRUN" val runs/classify/whole data.names=0,2,1
expect 2 "command line: the data has the class \`x\`" "$CVRUN" val runs/classify/whole data.names=0,2,x
expect 2 "the data has the class \`x\`, which is none of the network's classes (0,1,2)" "$CVRUN" train --resume runs/classify/whole epochs=4 data.names=0,x,1
expect 2 "the run has the class \`2\`, which the data has not any more" "$CVRUN" train --resume runs/classify/whole epochs=4 data.classes=2
expect 0 "" "$CVRUN" val runs/classify/whole data.classes=2
expect 0 "" "$CVRUN" train --resume runs/classify/whole epochs=4 data.names=0,2,1
same before runs/classify/whole/classes.txt

# whatever the command line takes, config.ini gives back
train small.ini 'name=a ;b "c"' epochs=1 data.names="$(printf 'x%.0s' {1..3000}),\"y,\ ;z "
expect 0 "" "$CVRUN" val 'runs/classify/a ;b "c"'
expect 0 "" "$CVRUN" train --resume 'runs/classify/a ;b "c"' epochs=2
: >'runs/classify/a ;b "c"/results.csv'
expect 0 "" "$CVRUN" train --resume 'runs/classify/a ;b "c"' epochs=3
done_with resume_test
