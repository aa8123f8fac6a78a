#!/usr/bin/env bash
# cvrun quantize: the folder that comes of it, that val, predict and export take it and others refuse it, that instruction
# sets, threads and unfused graphs agree, what stays in f32, and what is said of broken folders and targets.
. "$(dirname "$0")/lib.sh"
: "${BUILD_DIR:?set BUILD_DIR to the build with onnx_dump}"
dump=$BUILD_DIR/bin/onnx_dump

# metric FILE NAME: from `val --json`
metric() { sed -n "s/.*\"$2\": \([-0-9.e]*\).*/\1/p" "$1"; }

recipe small.ini
cat >>small.ini <<'INI'
[quant]
pictures = 32
batch = 8
INI
# a residual block, a grouped and a depthwise convolution, a mean, an activation that stays real, values with and without a bound side by
# side, a transposed convolution, upsampling, and a layer that nothing reads
sed -i '/^\[net\]/,/^\[train\]/{/^\[train\]/!d}' small.ini
sed -i 's/^\[train\]/[net]\nc1 = conv2d 8 kernel_size=3 padding=1 bias=no\nb1 = batch_norm2d\nr1 = relu\nc2 = conv2d 8 kernel_size=3 padding=1 groups=2\ns = silu\ndw = conv2d 8 kernel_size=3 padding=1 groups=8\nb3 = batch_norm2d\nsum = add from=b3,r1\nr3 = relu6\np1 = max_pool2d 2\np2 = max_pool2d 2 from=c2\nboth = concat dim=1 from=p1,p2\nt = conv_transpose2d 12 kernel_size=2 stride=2\nup = upsample size=7,9 mode=bilinear\nc4 = conv2d 20 kernel_size=1\nr4 = relu\nunread = conv2d 4 kernel_size=3 from=r1\na = adaptive_avg_pool2d 1 from=r4\nf = flatten\nfc = linear num_classes\n[model]\nfreeze = unread\n[train]/' small.ini
expect 0 "" "$CVRUN" train small.ini epochs=1
run=runs/classify/small
expect 0 "" "$CVRUN" quantize $run
grep -q "^$work/$run-quantized$" out.txt || fail "where it is: $(cat out.txt)"
grep -q '^left in f32' out.txt && fail "something is left in f32: $(cat out.txt)"
q=$run-quantized
for f in config.ini plan.txt compress.json classes.txt weights/best.safetensors; do [ -s $q/$f ] || fail "no $f"; done
for key in before after metrics params macs file_bytes planned_memory_bytes ms_batch1 ms_batch32; do
  grep -q "\"$key\"" $q/compress.json || fail "compress.json lacks $key"
done
grep -q '"method": "ptq"' $q/compress.json || fail "compress.json does not name the method"
grep -q '"params": 0' $q/compress.json && fail "a network without weights"
grep -aq '"c1.weight_int8"' $q/weights/best.safetensors && ! grep -aq '"c1.weight"\|"b1.weight"' $q/weights/best.safetensors ||
  fail "the weights are not those of the integers alone"
grep -aq unread $q/weights/best.safetensors && fail "numbers of a layer that nothing reads"
checks=$((checks + 7))

# The same again is the same, whatever the threads; it lands beside the first.
expect 0 "" "$CVRUN" quantize $run backend.threads=1
same $q/weights/best.safetensors $q-2/weights/best.safetensors
same $q/plan.txt $q-2/plan.txt

# val, predict and export take it; results do not depend on the instruction set, and without passes they are the same within rounding.
expect 0 "" "$CVRUN" val $q --json
cp out.txt val.json
raw() { expect 0 "" "$CVRUN" predict $q source=pictures predict.raw=yes predict.out="$1" "${@:2}"; }
mkdir pictures && expect 0 "" "$CVRUN" pack small.ini out=packed as=folder
find packed -name '*.png' | head -4 | while read -r p; do cp "$p" pictures/; done
raw fast
for isa in base avx2 "avx2 avx512f avx512bw avx512vl avx512dq avx512_vnni"; do
  rm -rf slow && raw slow backend.isa="$isa" && same fast/raw.safetensors slow/raw.safetensors
done
rm -rf slow && raw slow backend.name=reference && same fast/raw.safetensors slow/raw.safetensors
expect 0 "" "$CVRUN" val $q backend.passes=none --json
[ "$(metric out.txt top1)" = "$(metric val.json top1)" ] || fail "without passes top1 is another"
expect 0 "" "$CVRUN" export $q out=int8.onnx
"$dump" int8.onnx >int8.txt
[ "$(grep -c '^QuantizeLinear ' int8.txt)" -ge 12 ] && grep -q '^DequantizeLinear .*c1' int8.txt || { cat int8.txt; fail "the ONNX file"; }
checks=$((checks + 2))

# what else a run is taken for
for c in train check bench; do expect 2 "was made by \`ptq\` of another" "$CVRUN" $c $q; done
expect 2 "was made by \`ptq\` of another" "$CVRUN" quantize $q
expect 2 "is not a run folder" "$CVRUN" quantize small.ini
expect 2 "backend.precision" "$CVRUN" val $q backend.precision=bf16

# what stays in f32, and observers
expect 0 "" "$CVRUN" quantize $run 'skip=fc,?4' keep=dw
grep -q 'left in f32: fc: quant.skip' out.txt && grep -q 'left in f32: dw: quant.keep' out.txt || fail "$(cat out.txt)"
for o in minmax average percentile entropy; do
  expect 0 "" "$CVRUN" quantize $run observer=$o bias_correction=no pictures=7
  grep -q 'calibrated on 7 of 50' out.txt || fail "$o: $(cat out.txt)"
done
expect 0 "" "$CVRUN" quantize $run keep=auto:100% data.limit=20
grep -q 'calibrated on 20 of 20' out.txt || fail "data.limit: $(cat out.txt)"
expect 0 "" "$CVRUN" quantize $run sensitivity=yes
[ "$(grep -c '^  alone on integers: [a-z0-9]*: [0-9.]* dB$' out.txt)" = 7 ] || fail "sensitivity: $(cat out.txt)"
sed -n 's/^  alone on integers: .*: \([0-9.]*\) dB$/\1/p' out.txt | sort -gc || fail "the worst is not first"
grep -q '"alone on integers": "dw: ' $(tail -1 out.txt)/compress.json || fail "compress.json has no sensitivity"
checks=$((checks + 4))
expect 2 "write auto:0.5%" "$CVRUN" quantize $run keep=auto:half
expect 1 "nothing of this network can run on integers" "$CVRUN" quantize $run skip=*
expect 2 'there is no compressor `ptk`; did you mean `ptq`?' "$CVRUN" quantize $run method=ptk
expect 2 "did you mean" "$CVRUN" quantize $run obserwer=minmax

# attention whose keys alone are behind a ReLU, which one scale for all three would lose: it stays in f32, they are on integers from 0 on
sed '/^\[net\]/,/^\[model\]/{/^\[/!d}; /^freeze/d; s/^name = small/name = keys/' small.ini >keys.ini
sed -i 's/^\[net\]/[net]\nc1 = conv2d 8 kernel_size=3\nt = to_tokens\nq = linear 8 from=t\nk = linear 8 from=t\nr = relu\nv = linear 8 from=t\na = scaled_dot_product_attention 2 from=q,r,v\nm = mean dim=1\nfc = linear num_classes/' keys.ini
expect 0 "" "$CVRUN" train keys.ini epochs=1
expect 0 "" "$CVRUN" quantize runs/classify/keys
grep -q '^  left in f32: a: activations within a bound' out.txt || fail "attention: $(cat out.txt)"
grep -q '^int8 [^ ]* 0 k/linear$' $(tail -1 out.txt)/plan.txt || fail "the keys: $(cat $(tail -1 out.txt)/plan.txt)"
checks=$((checks + 2))

# a plan that is not this network's
broken() { cp -r $q bad && sed -i "$2" bad/plan.txt && expect 1 "$1" "$CVRUN" val bad && rm -rf bad; }
broken "does not begin with" '1s/.*/nonsense/'
broken "line 2 of the plan is none" '2s/.*/edge 0.1 300 c1/'
broken "line 3 of the plan is none" '3s/^\(edge\|int8\) [^ ]*/\1 inf/'
broken "nodes on integers, of which this network has" 's/^int8 \(.*\) c1\/conv2d$/int8 \1 c9\/conv2d/'
broken "twice" '$p'
cp -r $q bad && rm bad/plan.txt && expect 1 "plan.txt" "$CVRUN" val bad
done_with quantize_cli_test
