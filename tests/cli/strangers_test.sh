#!/usr/bin/env bash
# Folders of pictures as people have them: what is hidden, missing, grey, damaged, unreadable or linked in a circle, at check, train and predict.
. "$(dirname "$0")/lib.sh"
# picture FILE WIDTH HEIGHT [CHANNELS [BAD]]: a PNG of noise; BAD: with a chunk that libpng warns of
cat >png.py <<'PY'
import os, random, struct, sys, zlib
for line in sys.stdin:
    path, w, h, c, bad = (line.split() + ["3", "0"])[:5]
    w, h, c = int(w), int(h), int(c)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    r = random.Random(path)
    raw = b"".join(b"\0" + bytes(r.randrange(256) for _ in range(w * c)) for _ in range(h))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2 if c == 3 else 0, 0, 0, 0))
                           + (chunk(b"sRGB", b"\7") if bad == "1" else b"") + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))
PY
tree() { for s in train val; do for c in a b; do for i in 0 1 2; do echo "$1/$s/$c/$i.png 8 8 3 ${2:-0}"; done; done; done | python3 png.py; }
cat >r.ini <<'INI'
[run]
name = r18
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
epochs = 2
batch = 4
INI
counts() { grep -qF "$1" out.txt || { cat out.txt >&2; fail "no \`$1\`"; }; checks=$((checks + 1)); }

# a grey picture among coloured ones is made RGB, and is it first; hidden files are none
tree data
printf '%s\n' 'data/train/a/0.png 8 8 1' 'data/train/b/.ipynb_checkpoints/x.png 8 8' | python3 png.py
printf 'Mac' >data/train/b/._0.png
expect 0 "" "$CVRUN" check r.ini; counts 'r.ini: 6 training and 6 validation pictures, 2 classes: 0 bad'
expect 0 "" "$CVRUN" train r.ini
expect 0 "" "$CVRUN" train r.ini epochs=1; [ -d runs/classify/r18-2 ] || fail "the second run's folder"

# every bad file is named, also where it is the first, and where all are; links to nowhere; what no codec reads
cp -r data bad
for f in train/a/0 train/b/1 val/b/2; do printf bad >bad/$f.png; done
ln -s /nowhere/x.png bad/val/a/gone.png
printf x >bad/train/a/x.avif; printf x >bad/train/b/x.PPM
# named WHAT N command...: exit status 1, and N lines on stdout that hold WHAT
named() {
  local what=$1 n=$2 got=0; shift 2
  timeout 60 "$@" >out.txt 2>err.txt || got=$?
  [ $got -eq 1 ] && [ "$(grep -cF "$what" out.txt)" -eq "$n" ] || { cat out.txt err.txt >&2; fail "status $got, or not $n times \`$what\`: $*"; }
  checks=$((checks + 1))
}
named 'png: ' 4 "$CVRUN" check r.ini data.root=bad; counts 'bad/val/a/gone.png: cannot read the picture'; counts ': 4 bad'
grep -q 'bad/train: 2 pictures are left out, since no codec reads their format' err.txt || fail "what no codec reads"
find bad -name '*.png' -exec sh -c 'printf bad >"$1"' _ {} \; 2>/dev/null
named 'png: ' 13 "$CVRUN" check r.ini data.root=bad
tree sizes; echo 'sizes/train/b/2.png 9 8' | python3 png.py
named 'sizes/train/b/2.png: the picture is 9x8' 1 "$CVRUN" check r.ini data.root=sizes imgsz=0
expect 2 'unknown key' "$CVRUN" check r.ini data.rooot=bad

# a decoder's warning has the file's name, once a file
tree warned 1
expect 0 "" "$CVRUN" check r.ini data.root=warned
[ "$(grep -c 'warned/[a-z]*/[ab]/[0-9].png: png: ' err.txt)" -eq 12 ] || { cat err.txt; fail "not a warning for each file"; }
expect 0 "" "$CVRUN" train r.ini data.root=warned epochs=4
[ "$(grep -c 'png: png: ' err.txt)" -eq 12 ] || fail "warnings that come again"

# a picture of more pixels than data.max_pixels is refused by its header, in training, check and prediction
expect 1 '8 x 8, more than 63 pixels' "$CVRUN" train r.ini data.max_pixels=63 name=small
named 'more than 63 pixels' 12 "$CVRUN" check r.ini data.max_pixels=63
expect 1 'more than 63 pixels' "$CVRUN" predict runs/classify/r18 source=data/val/a/0.png data.max_pixels=63
expect 2 'max_pixels' "$CVRUN" check r.ini data.max_pixels=0

# prediction: what cannot be used is named, the rest is predicted; no link is followed twice; a folder only for something
printf '%s\n' 'src/a.png 8 8' 'src/deep/m.png 1 10000' 'src/.x.png 8 8' 'src/z.png 9 7' | python3 png.py
printf x >src/b.png; ln -s /nowhere src/gone.png; ln -s .. src/deep/up; ln -s deep src/again; ln -s . src/self
status=0; timeout 60 "$CVRUN" predict runs/classify/r18/ source=src imgsz=224 >out.txt 2>err.txt || status=$?
[ $status -eq 1 ] && [ "$(grep -c 'cvrun: error: ' err.txt)" -eq 3 ] || { cat out.txt err.txt; fail "status $status, or not three bad ones"; }
[ "$(tail -n 1 out.txt)" = '2 pictures; predictions are in runs/predict/r18' ] && grep -q '^backend cpu: .*; f32$' out.txt || { cat out.txt; fail "what was predicted, or where"; }
[ "$(grep -c '"file"' runs/predict/r18/predictions.json)" -eq 2 ] || fail "predictions.json"
checks=$((checks + 3))
expect 0 "" "$CVRUN" predict runs/classify/r18 source=src/a.png; counts 'runs/predict/r18-2'
expect 1 'src/b.png: not a picture' "$CVRUN" predict runs/classify/r18 source=src/b.png
[ ! -e runs/predict/r18-3 ] || fail "a folder for nothing"
# several sources, patterns that the shell was kept from, lists; what is in none of them
looks() { # PICTURES SOURCE...
  local n=$1; shift
  expect 0 "" "$CVRUN" predict runs/classify/r18 predict.out=several imgsz=224 "$@"
  [ "$(grep -c '"file"' several/predictions.json)" -eq "$n" ] || { cat out.txt; fail "not $n pictures: $*"; }
}
looks 2 source=src/a.png,src/z.png; looks 2 source=src/a.png predict.source=src/z.png; looks 2 'source=src/[az].png'; looks 3 'source=src/[az].png,src/a.png'
printf '# two\n\nsrc/a.png\r\n  z.png\n' >src/list.txt; looks 2 source=src/list.txt
expect 2 'nothing matches `' "$CVRUN" predict runs/classify/r18 'source=src/*.gif'
echo nowhere.png >bad.txt; expect 2 'bad.txt:1: `nowhere.png` is neither in the current folder nor beside the list' "$CVRUN" predict runs/classify/r18 source=bad.txt
: >empty.txt; expect 2 'empty.txt: lists no picture' "$CVRUN" predict runs/classify/r18 source=empty.txt
printf 'a\0b' >nul.txt; expect 2 'nul.txt: is no text' "$CVRUN" predict runs/classify/r18 source=nul.txt
expect 2 'what shall I look at' "$CVRUN" predict runs/classify/r18 source=
# a file of weights or of a network where a recipe stands; what other programs call otherwise
expect 2 "is a file of weights, and no recipe; write runs/classify/r18 weights=runs/classify/r18/weights/last.safetensors" "$CVRUN" val runs/classify/r18/weights/last.safetensors
cp runs/classify/r18/weights/last.safetensors loose.safetensors
expect 2 'write model=NAME weights=loose.safetensors' "$CVRUN" predict loose.safetensors source=src/a.png
printf '[convolutional]\nfilters=1\n' >net.cfg; expect 2 'net.cfg: is the file of a network, and no recipe; write model=net.cfg' "$CVRUN" train net.cfg data=data
expect 2 'a run goes on by `cvrun train --resume RUN_DIR`' "$CVRUN" train r.ini resume=True
expect 2 'the file of a network is its model: model=FILE.cfg' "$CVRUN" train r.ini cfg=net.cfg
# weights that do not fit are no picture's fault: one line
sed 's/conv2d 4/conv2d 5/' r.ini >other.ini
expect 1 '' "$CVRUN" predict other.ini source=data model.weights=runs/classify/r18/weights/last.safetensors model.num_classes=2 predict.out=none
[ ! -e none ] || fail "a folder for nothing"

# the first five of many classes: in order, equal ones by index
sed 's/^fc.*/fc = linear num_classes bias=no/' r.ini >many.ini
expect 0 "" "$CVRUN" predict many.ini source=src/a.png model.num_classes=20000 predict.out=many
python3 - <<'PY' || fail "the first five"
import json
top = [t["prob"] for t in json.load(open("many/predictions.json"))[0]["top"]]
assert len(top) == 5 and top == sorted(top, reverse=True)
PY
checks=$((checks + 1))

# names that would colour, move or ring are cleaned before they reach a terminal, whoever chose them
esc=$(printf '\033[31m\007\302\233')
cp -r data odd; for s in train val; do mv odd/$s/a "odd/$s/a$esc"; mv "odd/$s/a$esc/0.png" "odd/$s/a$esc/0$esc.png"; done
# cleaned STATUS command...: nothing but text on either stream, where `?` stands in the name's place
cleaned() {
  local want=$1 got=0; shift
  timeout 60 "$@" >out.txt 2>err.txt || got=$?
  [ $got -eq "$want" ] || { cat -v err.txt >&2; fail "status $got instead of $want: $*"; }
  ! LC_ALL=C grep -qP '[\x00-\x08\x0b-\x1f\x7f]|\xc2\x9b' out.txt err.txt || { cat -v out.txt err.txt >&2; fail "a terminal would obey: $*"; }
  checks=$((checks + 1))
}
cleaned 0 "$CVRUN" train r.ini data.root=odd "name=run$esc"
for run in runs/classify/run*; do :; done
cleaned 0 "$CVRUN" train --resume "$run"; grep -q 'has finished' out.txt || fail "no finished run"
cleaned 0 "$CVRUN" predict "$run" source=odd/val; grep -qF '0?[31m???.png: ' out.txt || fail "no cleaned file"
cleaned 0 "$CVRUN" cfg "$run"
cleaned 0 "$CVRUN" info "$run"
for words in "$esc" "help $esc" "train --resume $esc" "train r.ini --swap-to $esc" "train r.ini $esc=1" "val r.ini x $esc" "val r.ini --$esc"; do
  # shellcheck disable=SC2086
  cleaned 2 "$CVRUN" $words
done

# what a run says at its end; one is one; weights that nobody gave
expect 0 "" "$CVRUN" train r.ini epochs=1 name=one
counts '; 1 epoch of 2 steps'; counts '1 epoch in'; counts 'time: steps '
expect 0 "no weights were given: they are random" "$CVRUN" val r.ini

# the command line
expect 2 '--resume wants' "$CVRUN" train --resume
expect 2 '--resume wants' "$CVRUN" train --resume --json
expect 2 '--swap-to wants' "$CVRUN" train r.ini --swap-to
expect 2 '`r.ini` beside --resume' "$CVRUN" train r.ini --resume runs/classify/r18
status=0; "$CVRUN" val runs/classify/r18 --json >/dev/full 2>err.txt || status=$?
[ $status -eq 1 ] && grep -q 'standard output: cannot write' err.txt || fail "a full disk"
checks=$((checks + 1))
done_with strangers_test
