#!/usr/bin/env bash
# cvrun quantize method=qat: the folder that comes of it, that threads and interruptions change no bit of it, that it starts from a quantised
# run's origin, and what is said of runs that it cannot go on with.
. "$(dirname "$0")/lib.sh"
: "${BUILD_DIR:?set BUILD_DIR to the build with onnx_dump}"

recipe small.ini
# a residual block whose norms fold, a norm that does not, dropout, an activation that stays real, and values that share a scale
sed -i '/^\[net\]/,/^\[train\]/{/^\[train\]/!d}' small.ini
sed -i 's/^\[train\]/[net]\nc1 = conv2d 8 kernel_size=3 padding=1 bias=no\nb1 = batch_norm2d\nr1 = relu\nc2 = conv2d 8 kernel_size=3 padding=1 groups=2\ns = silu\nb2 = batch_norm2d\nc3 = conv2d 8 kernel_size=1\nb3 = batch_norm2d\nsum = add from=b3,r1\nr3 = relu6\np1 = max_pool2d 2\nboth = concat dim=1 from=p1,p1\nf = flatten\nd = dropout 0.2\nfc = linear num_classes\n[quant]\npictures = 16\nbatch = 8\n[train]/' small.ini
expect 0 "" "$CVRUN" train small.ini epochs=1
run=runs/classify/small
qat=(method=qat epochs=30 freeze_norm=10 freeze_ranges=20 data.limit=30)
expect 0 "" "$CVRUN" quantize $run "${qat[@]}"
q=$run-quantized
mv $q whole
for f in config.ini plan.txt compress.json classes.txt steps.csv weights/best.safetensors weights/last.safetensors; do [ -s whole/$f ] || fail "no $f"; done
grep -q '"method": "qat"' whole/compress.json || fail "compress.json does not name the method"
grep -aq '"c1.weight_int8"' whole/weights/best.safetensors && ! grep -aq '"c1.weight"' whole/weights/best.safetensors || fail "best is not of integers"
grep -aq '"c1.weight"' whole/weights/last.safetensors && ! grep -aq 'quant_range' whole/weights/last.safetensors || fail "last is not the network in f32"
! grep -q '^epochs = 1$' whole/config.ini || fail "epochs in config.ini"
checks=$((checks + 4))

# the same bits on one thread with unfused graphs left as they are, and after an interruption, from a run that ptq has made
expect 0 "" "$CVRUN" quantize $run "${qat[@]}" backend.threads=1
for f in weights/best.safetensors weights/last.safetensors plan.txt; do same whole/$f $q/$f; done
rm -r $q
expect 0 "" "$CVRUN" quantize $run
mv $q ptq
"$CVRUN" quantize ptq "${qat[@]}" >out.txt 2>err.txt & pid=$!
while kill -0 $pid 2>/dev/null && [ ! -s $q/weights/last.state ]; do sleep 0.02; done
kill -TERM $pid 2>/dev/null || true
status=0; wait $pid || status=$?
case $status in
75) expect 2 'was made by `qat` of another' "$CVRUN" train --resume $q
  expect 0 "" "$CVRUN" quantize --resume $q ;;
0) echo "it had ended before it was interrupted" ;;
*) cat err.txt; fail "status $status" ;;
esac
for f in weights/best.safetensors weights/last.safetensors plan.txt; do same whole/$f $q/$f; done

# one that goes on is compared with its origin on the same data as before
expect 0 "" "$CVRUN" quantize --resume $q
same <(grep '"metrics"' whole/compress.json) <(grep '"metrics"' $q/compress.json)

# what a quantised run is taken for
expect 0 "" "$CVRUN" val $q
expect 0 "" "$CVRUN" export $q out=int8.onnx
"$BUILD_DIR/bin/onnx_dump" int8.onnx >int8.txt
grep -q '^DequantizeLinear .*c1' int8.txt || fail "the ONNX file"
expect 2 "is no quantised run" "$CVRUN" quantize --resume $run
expect 2 'was made by `ptq`, which trains nothing' "$CVRUN" quantize --resume ptq
expect 2 "quant.method" "$CVRUN" quantize --resume $q method=ptq
expect 2 "did you mean" "$CVRUN" quantize $run method=qat epoch=3
done_with qat_cli_test
