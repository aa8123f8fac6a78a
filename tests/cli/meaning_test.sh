#!/usr/bin/env bash
# What a run means stays what it meant: classes by name, the size of pictures, samples that count once, settings that are read, numbers that are none,
# names of files and of classes.
. "$(dirname "$0")/lib.sh"
cat >png.py <<'PY'
# Lines `file width height colour`: a PNG with noise around a colour; in names a backslash and x.. stand for any byte.
import os, random, struct, sys, zlib
COLOURS = {b"red": (220, 30, 30), b"green": (30, 220, 30), b"blue": (30, 30, 220)}
for line in sys.stdin.buffer:
    path, w, h, colour = line.split()
    path = path.decode("unicode_escape").encode("latin1")
    w, h = int(w), int(h)
    os.makedirs(os.path.dirname(path) or b".", exist_ok=True)
    r, rgb = random.Random(path), COLOURS.get(colour, (128, 128, 128))
    raw = b"".join(b"\0" + bytes(c + r.randrange(-20, 21) for _ in range(w) for c in rgb) for _ in range(h))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0))
                           + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))
PY
# tree FOLDER SPLITS SIZE CLASS...
tree() { local d=$1 splits=$2 n=$3 s c i; shift 3; for s in $splits; do for c; do for i in 0 1 2 3; do echo "$d/$s/$c/$i.png $n $n $c"; done; done; done | python3 png.py; }
cat >r.ini <<'INI'
[run]
name = r
[data]
format = folder
root = data
img_size = 8
[net]
c1 = conv2d 4 kernel_size=3 padding=1
g = adaptive_avg_pool2d 1
f = flatten
fc = linear num_classes
[train]
epochs = 8
batch = 4
[optim]
lr = 0.2
INI
# train NAME key=value...
train() { local name=$1; shift; "$CVRUN" train r.ini "name=$name" "$@" >log.txt 2>&1 || { cat log.txt >&2; fail "train $name $*"; }; }
says() { grep -qF -- "$1" out.txt || { cat out.txt err.txt >&2; fail "no \`$1\`"; }; checks=$((checks + 1)); }
warns() { grep -qF -- "$1" err.txt || { cat err.txt >&2; fail "no \`$1\` on stderr"; }; checks=$((checks + 1)); }
right() { expect 0 "" "$CVRUN" val "$@"; says 'top1     1.0000'; }

# classes: data with some of a run's classes, without its training part, in another order; one that the run has not is named
tree data 'train val' 8 red green blue
tree some 'train val' 8 red green
tree alone val 8 red green
tree more 'train val' 8 red zebra
train r
right runs/classify/r
right runs/classify/r data.root=some
right runs/classify/r data.root=alone; says '8 pictures'
right r.ini weights=runs/classify/r/weights/last.safetensors data.root=some
# results.png: a metric of 1 lies on the upper edge of its panel, for no metric can be better
python3 - runs/classify/r/results.png <<'PY' || fail "the axis of the metrics goes past 1"
import struct, sys, zlib
b = open(sys.argv[1], "rb").read()
w, h, depth, kind = struct.unpack(">IIBB", b[16:26])
at, data = 8, b""
while at < len(b):
    n, name = struct.unpack(">I4s", b[at:at + 8])
    data += b[at + 8:at + 8 + n] if name == b"IDAT" else b""
    at += n + 12
raw, step, before, rows = zlib.decompress(data), {2: 3, 6: 4}[kind], None, []
for y in range(46):
    line = bytearray(raw[y * (w * step + 1) + 1:(y + 1) * (w * step + 1)])
    f = raw[y * (w * step + 1)]
    for i in range(len(line)):
        a, u, c = i >= step and line[i - step], before and before[i] or 0, before and i >= step and before[i - step] or 0
        near = min((abs(u - c), 0, a), (abs(a - c), 1, u), (abs(a + u - 2 * c), 2, c))[2]
        line[i] = (line[i] + (0, a, u, (a + u) // 2, near)[f]) & 255
    before = line
    rows.append(line)
r, g, blue = rows[44][900 * step:900 * step + 3]
assert r > 180 and blue < 120, (r, g, blue)  # top5's orange, not the grid's grey
PY
checks=$((checks + 1))
expect 2 "command line: the data has the class \`zebra\`, which is none of the network's classes (blue,green,red)" "$CVRUN" val runs/classify/r data.root=more
expect 2 "the run has the class \`blue\`" "$CVRUN" train --resume runs/classify/r epochs=9 data.root=some
expect 0 "" "$CVRUN" predict r.ini weights=runs/classify/r/weights/last.safetensors source=data/val/blue/0.png predict.out=p; says '0.png: blue'
# weights of a known order are taken so, whoever made them; head=keep finds the data's classes among theirs
mkdir w; cp runs/classify/r/weights/last.safetensors w/w.safetensors; printf 'red\r\ngreen\nblue' >w/classes.txt
expect 0 "" "$CVRUN" val r.ini weights=w/w.safetensors; says 'top1     0.3333'
train kept weights=w/w.safetensors model.head=keep model.num_classes=3 data.root=some
[ "$(tr '\n' , <runs/classify/kept/classes.txt)" = red,green,blue, ] || fail "the classes of kept weights"
expect 2 'command line: model.num_classes = 4' "$CVRUN" train r.ini weights=w/w.safetensors model.head=keep model.num_classes=4
expect 2 'model.num_classes = 3, but the data has 2 classes; leave it out' "$CVRUN" train r.ini weights=w/w.safetensors model.num_classes=3 data.root=some
rm w/classes.txt
expect 2 'put a classes.txt beside the weights' "$CVRUN" train r.ini weights=w/w.safetensors model.head=keep model.num_classes=3 data.root=some
# a head of other classes takes the rows of those that it knows by name
cat >m.ini <<'INI'
[run]
name = m
[data]
format = folder
root = data
img_size = 16
[model]
name = resnet18_cifar
width = 4
[train]
epochs = 0
batch = 4
INI
expect 0 "" "$CVRUN" train m.ini
expect 0 "" "$CVRUN" train m.ini data.root=more name=other seed=5 weights=runs/classify/m/weights/last.safetensors; warns '1 of 2 classes are among'; warns 'fc.weight, fc.bias'
python3 - <<'PY' || fail "rows by name"
import json, struct
def fc(run):
    b = open(f"runs/classify/{run}/weights/last.safetensors", "rb").read()
    n = struct.unpack("<Q", b[:8])[0]
    t = json.loads(b[8:8 + n])["fc.weight"]
    rows, cols = t["shape"]
    v = struct.unpack(f"<{rows * cols}f", b[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]])
    return [v[i * cols:(i + 1) * cols] for i in range(rows)]
was, now = fc("m"), fc("other")  # blue, green, red; red, zebra
assert now[0] == was[2] and now[1] not in was
PY

# the size is one setting: transforms take it, two that differ are an error, and a run keeps the one that it was trained with
train sized augment.random_crop= ; train crop augment.random_crop=8
same runs/classify/sized/weights/last.safetensors runs/classify/crop/weights/last.safetensors
expect 2 'training pictures are 6x6, and data.img_size says 8x8' "$CVRUN" train r.ini augment.random_crop=6
expect 2 'training pictures are 6x6, and those to validate are 8x8' "$CVRUN" train r.ini augment.random_crop=6 imgsz=0
tree wide 'train val' 12 red green
expect 2 'nothing in [augment] brings pictures to data.img_size = 8x8, the first is 12x12; add `random_resized_crop =`' "$CVRUN" train r.ini data.root=wide augment.random_horizontal_flip=
expect 0 "" "$CVRUN" info r.ini data.root=wide augment.random_resized_crop=scale=0.5,1
# the recipe for one's own pictures follows imgsz
expect 0 "" "$CVRUN" info "$here/../../apps/recipes/folder.ini" data.root=$PWD/wide imgsz=24
train apart augment.random_crop=6 imgsz=0 val.crop_size=8
sed -i 's/^g = .*/g = max_pool2d 2/' r.ini; train as-is imgsz=0 lr=0.02
printf '%s\n' 'big/a.png 31 17 red' 'big/b.png 8 8 red' 'big/c.png 5 40 red' | python3 png.py
expect 0 "" "$CVRUN" predict runs/classify/as-is source=big; says '3 pictures'
tree large val 20 red green blue
expect 0 "" "$CVRUN" val runs/classify/as-is data.root=large; says '12 pictures'
sed -i 's/^g = .*/g = adaptive_avg_pool2d 1/' r.ini

# settings that nobody would read, and where each stands
expect 2 'command line: data.mean = 0.1,0.2 has 2 numbers, and pictures have 3 channels' "$CVRUN" train r.ini data.mean=0.1,0.2
expect 2 'data.std = imagenet has 3 numbers, and pictures have 4 channels; give one, or one for each' "$CVRUN" train r.ini data.std=imagenet model.in_channels=4
expect 0 '' "$CVRUN" train r.ini data.std=imagenet model.in_channels=1 epochs=0 name=grey
expect 2 'command line: run.patience is set, but val.interval = 0' "$CVRUN" train r.ini run.patience=1 val.interval=0
expect 2 'val.metric is set, but val.interval = 0' "$CVRUN" train r.ini val.metric=loss val.interval=0
expect 2 'model.head is set, but there are no model.weights' "$CVRUN" train r.ini model.head=keep
expect 2 'data.shapes is set, but this task' "$CVRUN" train r.ini data.shapes=2
expect 2 'command line: model.weights: a run that goes on' "$CVRUN" train --resume runs/classify/r weights=w/w.safetensors
printf '[backend]\nname = foo\n[val]\nmetric = topp\n[augment]\nrandom_rotation = degrees=x\n' >lines; line=$(wc -l <r.ini)
cat r.ini lines >placed.ini
expect 2 "placed.ini:$((line + 6)): random_rotation: degrees = x: not a number" "$CVRUN" train placed.ini
expect 2 "placed.ini:$((line + 4)): val.metric = topp" "$CVRUN" train placed.ini augment.random_rotation=5
expect 2 "placed.ini:$((line + 2)): there is no backend \`foo\`" "$CVRUN" train placed.ini augment.random_rotation=5 val.metric=loss
expect 2 'command line: `zz` fits no parameter' "$CVRUN" train r.ini model.freeze=zz

# patience counts validations
train patient lr=0 epochs=40 val.interval=3 run.patience=2 val.metric=top1
[ "$(tail -n 1 runs/classify/patient/steps.csv | cut -d, -f2)" -eq 9 ] || fail "patience does not count validations"

# on_error=skip: what does not fit in with the others counts as bad, evaluation leaves it out, and a batch of bad ones is not the end
cp -r data bad
printf bad >bad/val/red/0.png
for f in val/green/0 val/green/1 val/green/2 val/green/3 train/red/1; do echo "bad/$f.png 9 8 red"; done | python3 png.py
expect 1 'bad/train/red/1.png: the picture is 9x8' "$CVRUN" train r.ini data.root=bad imgsz=0
train skipping data.root=bad imgsz=0 data.on_error=skip epochs=3
[ "$(grep -c 'skipped$' log.txt)" -eq 6 ] || { cat log.txt; fail "not a warning for each bad file"; }
for workers in 0 3; do
  expect 0 "" "$CVRUN" val r.ini weights=runs/classify/skipping/weights/last.safetensors data.root=bad data.on_error=skip imgsz=0 workers=$workers
  says '7 pictures,'; says 'left out: 5 pictures that cannot be used'
done
find bad/val -name '*.png' -exec sh -c 'printf bad >"$1"' _ {} \;
printf '%s\n' 'bad/val/red/0.png 8 8 red' | python3 png.py
expect 0 "" "$CVRUN" val r.ini data.root=bad data.on_error=skip; says '1 picture,'

# NaN in weights is told of; in a checkpoint it is refused; JSON has null for it
python3 - <<'PY'
import json, struct
b = bytearray(open("runs/classify/r/weights/last.safetensors", "rb").read())
n = struct.unpack("<Q", b[:8])[0]
at = 8 + n + json.loads(b[8:8 + n])["fc.bias"]["data_offsets"][0]
b[at:at + 4] = struct.pack("<f", float("nan"))
open("nan.safetensors", "wb").write(b)
PY
expect 0 "" "$CVRUN" val r.ini weights=nan.safetensors --json; warns 'nan.safetensors: NaN or infinity in 1 tensor: fc.bias'
python3 -c 'import json; assert json.load(open("out.txt"), parse_constant=lambda c: 1 / 0)["loss"] is None' || { cat out.txt; fail "JSON with NaN"; }
expect 0 "" "$CVRUN" check r.ini weights=nan.safetensors; warns 'NaN or infinity'

# masks of pictures that have one name but for the ending or the folder
cat >s.ini <<'INI'
[run]
task = segment
[data]
format = scenes
img_size = 16
[net]
c1 = conv2d num_classes kernel_size=3 padding=1
[train]
batch = 4
INI
printf '%s\n' 'pics/x.png 16 16 red' 'pics/x.jpg 16 16 green' 'pics/deep/x.png 16 16 blue' 'pics/x-2.png 16 16 blue' | python3 png.py
expect 0 "" "$CVRUN" predict s.ini source=pics predict.out=masks model.num_classes=3
python3 - <<'PY' || { cat masks/predictions.json; fail "names of masks"; }
import json, os
masks = [p["mask"] for p in json.load(open("masks/predictions.json"))]
assert len(masks) == len(set(masks)) == 4 and all(os.path.exists("masks/" + m) for m in masks)
PY

# names of any bytes: classes, files, the run; what is written is read back, CSV and JSON are what they are
for c in 'a,b' 'q"' 'new\\x0aline' 'back\\\\slash' '\\xff\\xfe' "it's" '#'; do for s in train val; do echo "odd/$s/$c/1$c.png 8 8 red"; done; done | python3 png.py
odd=$'o"d,d ;x\n\xff'
train "$odd" data.root=odd epochs=1
expect 0 "" "$CVRUN" val "runs/classify/$odd"
expect 0 "" "$CVRUN" train --resume "runs/classify/$odd" epochs=2
expect 0 "" "$CVRUN" predict "runs/classify/$odd" source=odd/val predict.out=op
python3 - "runs/classify/$odd" <<'PY' || fail "names of any bytes"
import csv, glob, io, json, os, sys
run = os.fsencode(sys.argv[1])
names = sorted(os.listdir(b"odd/train"))
rows = lambda path: list(csv.reader(io.StringIO(open(path, "rb").read().decode("latin1"), newline="")))
assert [r[0].encode("latin1") for r in rows(run + b"/per_class.csv")[1:]] == names
assert [c.encode("latin1") for c in rows(run + b"/confusion_matrix.csv")[0][1:]] == names
files = [r[0].encode("latin1") for r in rows(b"op/predictions.csv")[1:]]
assert sorted(os.path.basename(f) for f in files) == sorted(b"1" + n + b".png" for n in names)
assert len(json.load(open("op/predictions.json", encoding="utf-8"))) == len(names)
json.load(open(run + b"/summary.json", encoding="utf-8"))
PY
checks=$((checks + 6))
done_with meaning_test
