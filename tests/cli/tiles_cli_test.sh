#!/usr/bin/env bash
# predict.tile: a picture pasted together of others has what these have, whatever the network says; validation in tiles of the
# pictures' own size is validation.
. "$(dirname "$0")/lib.sh"

# part-0.png to part-5.png, 96 x 96 pixels of noise, and whole.png, 3 x 2 of them
cat >png.py <<'PY'
import random, struct, zlib
W = H = 96
def write(path, rows):
    raw = b"".join(b"\0" + r for r in rows)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", len(rows[0]) // 3, len(rows), 8, 2, 0, 0, 0))
                           + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))
r = random.Random(1)
parts = []
for i in range(6):
    blocks = [[bytes(r.randrange(256) for _ in range(3)) for _ in range(W // 8)] for _ in range(H // 8)]
    parts.append([b"".join(blocks[y // 8][x // 8] for x in range(W)) for y in range(H)])
    write(f"parts/part-{i}.png", parts[-1])
write("whole.png", [b"".join(parts[y // H * 3 + c][y % H] for c in range(3)) for y in range(2 * H)])
PY
mkdir parts && python3 png.py

cat >net.ini <<'INI'
[run]
task = detect
[data]
format = scenes
fields = boxes
train_size = 4
val_size = 6
img_size = 96
item_scale = 0.3,0.6
workers = 0
[model]
name = fcos_resnet50_fpn
body = resnet18
norm = batch
width = 8
fpn_channels = 32
head_groups = 4
num_classes = 4
score_thresh = 0.01
detections_per_img = 30
[train]
batch = 2
[predict]
conf = 0.01
save = no
INI
expect 0 "" "$CVRUN" predict net.ini source=parts predict.out=p data.names=a,b,c,d
expect 0 "" "$CVRUN" predict net.ini source=whole.png predict.out=w data.names=a,b,c,d predict.tile=96 predict.overlap=0

# Boxes that end at a border between tiles may be joined with the next tile's; all others are the same.
cat >compare.py <<'PY'
import json
load = lambda f: {p["file"].split("/")[-1]: p["boxes"] for p in json.load(open(f))}
parts, whole = load("p/predictions.json"), load("w/predictions.json")["whole.png"]
move = lambda b, i: [b["xyxy"][0] + i % 3 * 96, b["xyxy"][1] + i // 3 * 96, b["xyxy"][2] + i % 3 * 96, b["xyxy"][3] + i // 3 * 96]
at = lambda v, most: any(abs(v - k) < 3 for k in range(96, most, 96))
cut = lambda q: at(q[0], 288) or at(q[2], 288) or at(q[1], 192) or at(q[3], 192)
spans = lambda q: q[2] - q[0] > 96.1 or q[3] - q[1] > 96.1 or any(q[0] < k - 0.1 and q[2] > k + 0.1 for k in (96, 192)) or q[1] < 95.9 and q[3] > 96.1
def inside(q, o):
    w, h = min(q[2], o[2]) - max(q[0], o[0]), min(q[3], o[3]) - max(q[1], o[1])
    return w > 0 and h > 0 and w * h > 0.4 * (q[2] - q[0]) * (q[3] - q[1])
expected = [(b["index"], b["score"], move(b, i)) for i in range(6) for b in parts[f"part-{i}.png"]]
found = [(b["index"], b["score"], b["xyxy"]) for b in whole]
joined = [(k, q) for k, _, q in found if spans(q)]
like = lambda a, b: a[0] == b[0] and abs(a[1] - b[1]) < 1e-4 and all(abs(x - y) < 0.05 for x, y in zip(a[2], b[2]))
kept = 0
for b in found:
    if not cut(b[2]) and not spans(b[2]):
        assert any(like(b, e) for e in expected), ("is in no part", b)
        kept += 1
for e in expected:
    if not cut(e[2]) and not any(k == e[0] and inside(e[2], q) for k, q in joined):
        assert any(like(e, b) for b in found), ("is not in the whole", e)
assert kept >= 10 and len({b[2][0] // 96 + b[2][1] // 96 * 3 for b in found if not spans(b[2])}) == 6, kept
assert [b[1] for b in found] == sorted((b[1] for b in found), reverse=True)
PY
python3 compare.py || fail "the picture does not have what its parts have"
grep -q '"width": 288, "height": 192' w/predictions.json || fail "not the picture's size"
expect 0 "" "$CVRUN" predict net.ini source=whole.png predict.out=w2 data.names=a,b,c,d predict.tile=96 # with the usual overlap
expect 0 "" "$CVRUN" predict net.ini source=parts/part-0.png predict.out=w3 data.names=a,b,c,d predict.tile=96
python3 - <<'PY' || fail "a picture that is no larger than a tile is looked at otherwise"
import json
assert json.load(open("w3/predictions.json"))[0]["boxes"] == json.load(open("p/predictions.json"))[0]["boxes"]
PY

# pictures of one tile each: validation says the same, but for losses
numbers() { tr ',{}' '\n\n\n' <out.txt | grep -E '"(map|ar|voc)[a-z0-9_]*":' >"$1"; }
expect 0 "" "$CVRUN" val net.ini data.names= model.num_classes=0 --json; numbers a
expect 0 "" "$CVRUN" val net.ini model.num_classes=0 --json predict.tile=96; numbers b
[ "$(wc -l <a)" -ge 12 ] || { cat out.txt; fail "no metrics"; }
same a b
expect 0 "" "$CVRUN" val net.ini model.num_classes=0 data.img_size=64 predict.tile=64 predict.overlap=0.3 # scenes are made of that size

expect 2 "task classify cannot put together what it finds in tiles" "$CVRUN" predict model=resnet18 data.names=a,b source=whole.png predict.tile=96
expect 2 "a tile has 16 pixels or more" "$CVRUN" predict net.ini source=whole.png data.names=a,b,c,d predict.tile=8
expect 2 "makes 273 x 177 tiles" "$CVRUN" predict net.ini source=whole.png data.names=a,b,c,d predict.tile=16 predict.overlap=0.95
done_with tiles_cli_test
