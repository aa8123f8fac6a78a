#!/usr/bin/env bash
# A loss that is not finite: the run stops, names samples and the node that it began in, and the weights are those from before;
# or the update is left out, with what batch norm gathered.
. "$(dirname "$0")/lib.sh"
cat >nan.ini <<'INI'
[run]
name = nan
[data]
format = folder
root = data
std = 1e-38
[net]
c1 = conv2d 16 kernel_size=3 padding=1
c2 = conv2d 16 kernel_size=3 padding=1
b1 = batch_norm2d
r1 = relu
f = flatten
fc = linear num_classes
[train]
epochs = 3
batch = 4
[optim]
name = sgd
lr = 0.1
momentum = 0.9
INI
# Black pictures are all 0; the white one overflows.
python3 - <<'PY'
import os, struct, zlib
def png(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    raw = b"".join(b"\0" + bytes([value] * 24) for _ in range(8))
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))
for s in "train", "val":
    for c in "ab":
        for i in range(10):
            png(f"data/{s}/{c}/{i}.png", 0)
png("data/train/b/white.png", 255)
PY
expect 1 'the loss is not a number at step' "$CVRUN" train nan.ini
grep -q 'it began here: ' err.txt && grep -q 'white.png' err.txt || { cat err.txt >&2; fail "node and samples"; }
for parts in 1 2; do
  expect 0 "" "$CVRUN" train nan.ini name=skip$parts train.on_nan=skip train.grad_accum=$parts
  [ "$(grep -c 'its update is left out' err.txt)" -eq 3 ] || { cat err.txt >&2; fail "not one warning an epoch"; }
  expect 0 "" "$CVRUN" val runs/classify/skip$parts
  grep -q NaN err.txt && fail "weights or running statistics took the NaN"
done
expect 1 'as it was in the steps before' "$CVRUN" train nan.ini name=often train.on_nan=skip batch=4 optim.lr=1e38
# what was not finite before the first step has no node that made it
expect 0 "" "$CVRUN" train nan.ini name=start epochs=0
python3 - runs/classify/start/weights/last.safetensors <<'PY'
import json, struct, sys
b = bytearray(open(sys.argv[1], "rb").read())
n = struct.unpack("<Q", b[:8])[0]
at = 8 + n + json.loads(b[8:8 + n])["c2.weight"]["data_offsets"][0]
b[at:at + 4] = struct.pack("<f", float("nan"))
open("broken.safetensors", "wb").write(b)
PY
expect 1 '`c2.weight` was not finite before this step; look at the weights that it began with' "$CVRUN" train nan.ini name=broken model.weights=broken.safetensors
# a validation that is not finite has the word where a metric that there is not has a dash, and one warning for the run
cp -r data seen; mv seen/train/b/white.png seen/val/b/
expect 0 'validation: the loss is' "$CVRUN" train nan.ini name=seen data.root=seen epochs=2
[ "$(grep -c 'validation: the loss is' err.txt)" -eq 1 ] || fail "not one warning"
[ "$(grep -cE ',(inf|nan)(,|$)' runs/classify/seen/results.csv)" -eq 2 ] || { cat runs/classify/seen/results.csv; fail "results.csv hides it"; }
grep -qE '^ +2 .* (inf|nan) ' out.txt || { cat out.txt; fail "the table hides it"; }
expect 0 'validation: the loss is' "$CVRUN" val runs/classify/seen
grep -qE '^loss +(inf|nan)$' out.txt || { cat out.txt; fail "val hides it"; }
done_with not_finite_test
