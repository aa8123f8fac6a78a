#!/usr/bin/env bash
# cvrun prune in several steps, killed wherever something has just been written, and called again with the same words or by
# --resume, ends in the files of one that nobody touched. Other words begin another folder; a pruning that failed leaves none.
. "$(dirname "$0")/lib.sh"
recipe small.ini
sed -i 's/^size = 50/size = 200/' small.ini
sed -i 's/c1 = conv2d 6/c1 = conv2d 12/' small.ini
expect 0 "" "$CVRUN" train small.ini epochs=1
run=runs/classify/small p=runs/classify/small-pruned
words=(target=macs:0.4 round_to=1 scope=all pictures=16 steps=3 epochs=6)
# what times are measured, and when files were written, is another matter each time
told() { sed '/"ms_batch1"/s/"ms_batch.*//' "$1/compress.json"; }
settled() { grep -v '^data\.\|^root' "$1/config.ini"; }
expect 0 "" "$CVRUN" prune $run "${words[@]}"
mv $p whole
grep -q '"untrained"' whole/compress.json && grep -q '"width": "c1: ' whole/compress.json || fail "compress.json: $(cat whole/compress.json)"
[ "$(grep -c '^[0-9]' whole/steps.csv)" = 50 ] || fail "the last step did not train two epochs: $(wc -l whole/steps.csv)"
for step in 1 2; do expect 0 "" "$CVRUN" val whole/pruning/step$step; done

# kill_at FILE COMMAND...: as soon as the file is there, or where it is already, a little after the start
killed=0
kill_at() {
  local file=$1 pid there=0; shift
  [ ! -e $file ] || there=0.15
  "$@" >>cut.txt 2>&1 & pid=$!
  sleep $there
  until [ -e $file ] || ! kill -0 $pid 2>/dev/null; do sleep 0.005; done
  if kill -KILL $pid 2>/dev/null; then killed=$((killed + 1)); fi
  wait $pid 2>/dev/null || true
}
again=("$CVRUN" prune $run "${words[@]}")
kill_at $p/pruning/asked.txt "${again[@]}"
kill_at $p/pruning/step1/weights/best.safetensors "${again[@]}"
kill_at $p/pruning/step1/config.ini "${again[@]}"
kill_at $p/pruning/step1.txt "${again[@]}"
kill_at $p/pruning/step1/weights/last.state "$CVRUN" prune --resume $p
kill_at $p/pruning/step2/config.ini "${again[@]}"
kill_at $p/pruning/step2/weights/last.state "$CVRUN" prune --resume $p
kill_at $p/pruning/step3.txt "${again[@]}"
kill_at $p/weights/last.safetensors "${again[@]}"
[ "$killed" -eq 9 ] || fail "it was killed $killed times before its end: $(tail -30 cut.txt)"
expect 0 "" "${again[@]}"
grep -q "^$work/$p$" out.txt || fail "it went on elsewhere: $(cat out.txt)"
for f in weights/best.safetensors weights/last.safetensors weights/pruned.safetensors pruning/step1/weights/last.safetensors \
  pruning/step2/weights/best.safetensors pruning/asked.txt pruning/step1.txt pruning/step2.txt pruning/step3.txt; do same whole/$f $p/$f; done
same <(settled whole) <(settled $p)
same <(told whole) <(told $p)

# it is done: the same words begin anew, and so do others; --resume only measures
expect 0 "" "$CVRUN" prune --resume $p
same <(told whole) <(told $p)
expect 0 "" "$CVRUN" prune $run target=macs:0.7 round_to=1 scope=all pictures=16
grep -q "^$work/$p-2$" out.txt || fail "another folder: $(cat out.txt)"
expect 2 "cannot be reached" "$CVRUN" prune $run target=params:1e-8 steps=3 round_to=1
[ ! -e $p-3 ] || fail "a pruning that failed left a folder: $(find $p-3)"
find runs -name '*.part*' | grep . && fail "something is left over"
done_with prune_steps_test
