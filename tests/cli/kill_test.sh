#!/usr/bin/env bash
# Kills a run with SIGKILL at random moments, resumes it each time, and wants the weights of a run that nobody touched.
. "$(dirname "$0")/lib.sh"
kills=${KILLS:-10}
RANDOM=${KILL_SEED:-12345}
recipe small.ini
settings="train.epochs=12 data.size=160 run.save_every=3 steps"
run() { "$CVRUN" train "$@" >>log.txt 2>&1; }
run small.ini name=whole train.epochs=12 data.size=160 "run.save_every=3 steps" || { cat log.txt; fail "the untouched run"; }
[ -n "$settings" ]
whole=$(grep -c . runs/classify/whole/steps.csv)

started=0 round=0 dir=
while [ "$started" -lt "$kills" ]; do
  round=$((round + 1))
  run small.ini name="cut$round" train.epochs=12 data.size=160 "run.save_every=3 steps" & pid=$!
  dir=runs/classify/cut$round
  while :; do
    sleep "0.$(printf %03d $((RANDOM % 400)))"
    if kill -KILL "$pid" 2>/dev/null; then started=$((started + 1)); fi
    wait "$pid" 2>/dev/null && break
    [ -d "$dir" ] && [ -f "$dir/config.ini" ] || { rm -rf "$dir"; break; }
    run --resume "$dir" & pid=$!
    if [ "$started" -ge "$kills" ]; then wait "$pid" || { tail -n 5 log.txt; fail "the last resume"; }; break; fi
  done
  [ -d "$dir" ] || continue
  [ -f "$dir/weights/last.safetensors" ] || { tail -n 5 log.txt; fail "$dir has no weights"; }
  same "$dir/weights/last.safetensors" runs/classify/whole/weights/last.safetensors
  cut -d, -f1-4 "$dir/steps.csv" >a.csv; cut -d, -f1-4 runs/classify/whole/steps.csv >b.csv
  same a.csv b.csv
  [ "$(grep -c . "$dir/steps.csv")" -eq "$whole" ] || fail "steps.csv has other rows"
done
echo "$started kills in $round runs"
done_with kill_test
