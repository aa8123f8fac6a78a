#!/usr/bin/env bash
# cvrun export: where the file goes, what is in it (held against golden texts by a reader of its own), that the same
# network has the same bytes, and what is said where it cannot be. Numbers are tests/parity/onnx_export.py's business.
. "$(dirname "$0")/lib.sh"
: "${BUILD_DIR:?set BUILD_DIR to the build with onnx_dump}"
dump=$BUILD_DIR/bin/onnx_dump golden=$here/../golden/export

# structure NAME FILE: what the file holds is what the golden text says; CVR_WRITE_GOLDEN=again writes it
structure() {
  "$dump" "$2" >"$1.txt" || fail "onnx_dump $2"
  [ -z "${CVR_WRITE_GOLDEN:-}" ] || { mkdir -p "$golden"; cp "$1.txt" "$golden/$1.txt"; }
  diff "$golden/$1.txt" "$1.txt" >&2 || fail "$2 is not as golden/export/$1.txt says"
  checks=$((checks + 1))
}

# A run: beside its weights, twice the same bytes, nothing else left there.
recipe small.ini
expect 0 "" "$CVRUN" train small.ini epochs=1
run=runs/classify/small
expect 0 "" "$CVRUN" export $run
grep -q "^$work/$run/weights/best.onnx: " out.txt || fail "where it is: $(cat out.txt)"
structure run $run/weights/best.onnx
expect 0 "" "$CVRUN" export $run out=again.onnx --json
grep -q '"file": ".*/again.onnx", "bytes": ' out.txt || fail "--json: $(cat out.txt)"
same again.onnx $run/weights/best.onnx
[ -z "$(ls $run/weights | grep -v -e '^best' -e '^last' || true)" ] || fail "it leaves $(ls $run/weights)"
# weights alone
expect 0 "" "$CVRUN" export $run format=safetensors out=w.safetensors
same w.safetensors $run/weights/best.safetensors
# a folded weight is gamma / sqrt(var + eps) of the run's
expect 0 "" "$CVRUN" export $run fold=no out=norms.onnx
"$dump" norms.onnx | grep -q '^BatchNormalization "b1"' || fail "fold=no leaves no batch norm"
for t in c1.weight b1.weight b1.running_var; do "$dump" norms.onnx $t >$t.txt; done
"$dump" again.onnx c1.weight >folded.txt
awk 'FILENAME ~ /b1.weight/ {g[n1++] = $1} FILENAME ~ /running_var/ {v[n2++] = $1} FILENAME ~ /c1.weight/ {w[n3++] = $1}
  FILENAME ~ /folded/ {k = int(n4 / (n3 / n1)); x = w[n4++] * g[k] / sqrt(v[k] + 1e-5); d = $1 - x; if (d < 0) d = -d; if (d > 1e-5) bad = 1}
  END {exit bad || !n4 || n3 != n4}' b1.weight.txt b1.running_var.txt c1.weight.txt folded.txt || fail "the folded weight"
checks=$((checks + 2))

# Layers of all kinds, in several versions of the operators; no size of a batch anywhere but where it was asked for.
cat >kinds.ini <<'INI'
[run]
seed = 3
[model]
num_classes = 3
[data]
img_size = 18,20
[net]
c1 = conv2d 16 kernel_size=3 stride=2 padding=1 bias=no
bn = batch_norm2d
act = hardswish
t1 = conv_transpose2d 4 kernel_size=2 stride=2 bias=no
tn = batch_norm2d
g = gelu
gn = group_norm 2
up = upsample scale_factor=2 mode=bilinear
pool = avg_pool2d 3 stride=2 padding=1 ceil_mode=yes
ad = adaptive_avg_pool2d 5
ln2 = layer_norm2d
left = slice dim=1 end=2
right = slice dim=1 start=2 from=ln2
both = concat dim=1 from=right,left
w = window_partition 2 shift=1
wm = multi_head_attention 2
m = window_merge 2 shift=1 size=5
tok = to_tokens
ln = layer_norm 4
soft = softmax dim=-1
back = from_tokens 5
sum = add from=back,m
l2 = l2_norm2d
mx = max_pool2d 2 ceil_mode=yes
f = flatten
fc = linear num_classes
INI
sed -i 's/^img_size = .*/img_size = 18/' kinds.ini
for opset in 13 17 21; do
  expect 0 "they are random" "$CVRUN" export kinds.ini size=18,20 opset=$opset out=kinds$opset.onnx
  structure kinds$opset kinds$opset.onnx
done
expect 0 "" "$CVRUN" export kinds.ini size=18,20 batch=4 out=four.onnx
"$dump" four.onnx | grep -q '^input images type 1 ( 4 3 18 20 )' || fail "batch=4"
"$dump" four.onnx | grep -q 'batch' && fail "an open batch in batch=4"
# pixels in, and weights in a file of their own
expect 0 "" "$CVRUN" export kinds.ini preprocess=embed data.mean=imagenet data.std=imagenet external=yes out=pixels.onnx
"$dump" pixels.onnx >pixels.txt
grep -q '^input images type 2 ( batch 18 18 3 )' pixels.txt && grep -q 'location=pixels.onnx.data offset=0 length=' pixels.txt ||
  { cat pixels.txt; fail "preprocess=embed external=yes"; }
[ -s pixels.onnx.data ] || fail "no file of weights"
checks=$((checks + 3))

# A detector with its boxes, and what they are decoded from.
cp "$here/../golden/darknet/yolov3.cfg" .
detector=(model=yolov3.cfg data.names=a,b,c)
expect 0 "they are random" "$CVRUN" export "${detector[@]}" out=boxes.onnx
"$dump" boxes.onnx >boxes.txt
for o in 'boxes type 1 ( batch 300 4 )' 'scores type 1 ( batch 300 )' 'labels type 7 ( batch 300 )'; do
  grep -q "^output $o" boxes.txt || { cat boxes.txt; fail "no output $o"; }
done
expect 0 "they are random" "$CVRUN" export "${detector[@]}" decode=no out=heads.onnx
structure heads heads.onnx
checks=$((checks + 2))

# what cannot be: one line, and no file
expect 2 "export.format = tflite: there is no such format; there are onnx" "$CVRUN" export kinds.ini format=tflite out=no.onnx
expect 2 "opset" "$CVRUN" export kinds.ini opset=9 out=no.onnx
expect 2 "did you mean" "$CVRUN" export kinds.ini opsett=17 out=no.onnx
expect 2 "set export.size=HEIGHT,WIDTH" "$CVRUN" export kinds.ini data.img_size=0 out=no.onnx
expect 2 "export.decode = no: this network has nothing to decode; leave it out" "$CVRUN" export kinds.ini decode=no out=no.onnx
expect 2 "opset" "$CVRUN" export kinds.ini format=safetensors opset=17 out=no.onnx
expect 1 "nowhere/no.onnx: cannot write it" "$CVRUN" export kinds.ini out=nowhere/no.onnx
expect 2 "Usage: cvrun export" "$CVRUN" export
[ -z "$(ls | grep '^no\.' || true)" ] || fail "a refused export left $(ls | grep '^no\.')"
done_with export_cli_test
