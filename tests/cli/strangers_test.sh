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
printf x >bad/train/a/x.webp; printf x >bad/train/b/x.BMP
expect 1 "" "$CVRUN" check r.ini data.root=bad || true
