#!/usr/bin/env bash
# Kills a run with SIGKILL at random moments, resumes it each time, and wants the weights of a run that nobody touched.
. "$(dirname "$0")/lib.sh"
kills=${KILLS:-$([ -n "${CVR_SANITIZE:-}" ] && echo 4 || echo 10)}
RANDOM=${KILL_SEED:-12345}
recipe small.ini
settings=(train.epochs=60 data.size=400 "run.save_every=3 steps")
begun=$(date +%s%3N)
"$CVRUN" train small.ini name=whole "${settings[@]}" >>log.txt 2>&1 || { cat log.txt; fail "the untouched run"; }
lasts=$(($(date +%s%3N) - begun)) # ms, of which a slow machine takes many to begin
whole=$(grep -c . runs/classify/whole/steps.csv)

# pid of a cvrun in the background, so that the signal reaches it and no shell around it
killed=0 round=0
while [ "$killed" -lt "$kills" ]; do
  round=$((round + 1))
  dir=runs/classify/cut$round
  "$CVRUN" train small.ini name="cut$round" "${settings[@]}" >>log.txt 2>&1 & pid=$!
  for ((cuts = 0; cuts < 8; cuts++)); do
    moment=$((20 + RANDOM % lasts * 7 / 10))
    sleep "$((moment / 1000)).$(printf %03d $((moment % 1000)))"
    if kill -KILL "$pid" 2>/dev/null && [ -f "$dir/classes.txt" ]; then killed=$((killed + 1)); fi
    status=0; wait "$pid" 2>/dev/null || status=$?
    [ $status -ne 0 ] || break
    [ $status -eq 137 ] || { tail -n 5 log.txt; fail "status $status"; }
    [ -f "$dir/classes.txt" ] || break
    "$CVRUN" train --resume "$dir" >>log.txt 2>&1 & pid=$!
  done
  wait "$pid" 2>/dev/null || true
  [ -f "$dir/classes.txt" ] || continue # killed before there was anything to resume
  "$CVRUN" train --resume "$dir" >>log.txt 2>&1 || { tail -n 5 log.txt; fail "the last resume of $dir"; }
  same "$dir/weights/last.safetensors" runs/classify/whole/weights/last.safetensors
  cut -d, -f1-4 "$dir/steps.csv" >a.csv
  cut -d, -f1-4 runs/classify/whole/steps.csv >b.csv
  same a.csv b.csv
  [ "$(grep -c . "$dir/steps.csv")" -eq "$whole" ] || fail "steps.csv of $dir has other rows"
done
echo "$killed kills in $round runs"
done_with kill_test
