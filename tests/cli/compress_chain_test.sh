#!/usr/bin/env bash
# apps/compress.sh: killed again and again it ends in the files of one that nobody touched, says what it made, and refuses
# other words than it began with.
. "$(dirname "$0")/lib.sh"
chain=$here/../../apps/compress.sh
export CVRUN
recipe small.ini
expect 0 "" "$CVRUN" train small.ini name=origin
run=runs/classify/origin
words=("prune=target=macs:0.7 round_to=2 pictures=16 epochs=2" "distill=epochs=12 T=2" "quantize=method=ptq quant.pictures=16" data.size=400)
expect 0 "" "$chain" $run out=whole "${words[@]}"
grep -q '^origin ' out.txt && grep -q '^prune ' out.txt && grep -q '^distill ' out.txt && grep -q '^quantize ' out.txt && grep -q '^ONNX: ' out.txt || { cat out.txt; fail "the table"; }
params() { awk -v of="$1" '$1 == of { print $3 }' out.txt; }
[ "$(params origin)" -gt "$(params prune)" ] || fail "the run and the pruned one have as many parameters: $(cat out.txt)"
[ "$(awk 'NR == 1 { print $1 }' whole/table.txt)" = top1 ] || fail "the table is of another metric: $(head -1 whole/table.txt)"
same whole/table.txt <(grep -v '^==' out.txt | sed '$d')

# kills it and all that it started, as soon as a file is there
killed=0
for file in prune/run/config.ini prune/run-pruned/weights/last.state distill/run/config.ini \
  distill/run-distilled/weights/last.state quantize/run-quantized/weights; do
  setsid "$chain" $run out=cut "${words[@]}" >>cut.txt 2>&1 & pid=$!
  until [ -e cut/$file ] || ! kill -0 $pid 2>/dev/null; do sleep 0.01; done
  if kill -KILL -- -$pid 2>/dev/null; then killed=$((killed + 1)); fi
  wait $pid 2>/dev/null || true
done
[ "$killed" -eq 5 ] || fail "it was killed $killed times before its end: $(cat cut.txt)"
expect 0 "" "$chain" $run out=cut "${words[@]}"
grep -q 'prune goes on' cut.txt out.txt && grep -q 'distill goes on' cut.txt out.txt || fail "the training did not go on: $(cat cut.txt)"
for f in model.onnx prune/run-pruned/weights/last.safetensors prune/run-pruned/weights/best.safetensors quantize/run-quantized/plan.txt quantize/run-quantized/weights/best.safetensors \
  distill/run-distilled/weights/last.safetensors distill/run-distilled/weights/best.safetensors; do same whole/$f cut/$f; done
# once more it has nothing to do
expect 0 "" "$chain" $run out=cut "${words[@]}"
grep -q '^==' out.txt && fail "it works though everything is there: $(cat out.txt)"

expect_words() { local want=$1 text=$2 got=0; shift 2; "$@" >out.txt 2>err.txt || got=$?; [ "$got" -eq "$want" ] && grep -qF -- "$text" err.txt || { cat err.txt; fail "status $got: $*"; }; checks=$((checks + 1)); }
expect_words 2 "was begun with other settings" "$chain" $run out=cut "${words[@]}" seed=9
expect_words 2 "is not a run folder" "$chain" runs/classify
expect_words 2 "is no setting" "$chain" $run out=none prune
expect_words 2 "it ended with status 2" "$chain" $run out=bad prune=no "distill=T=hot"
grep -q "hot" bad/distill/log.txt || fail "the log does not say why"
done_with compress_chain_test
