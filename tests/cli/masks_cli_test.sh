#!/usr/bin/env bash
# Masks end to end: what cvrun pack writes is read back and trains, and cvrun check names every mask that is not right.
. "$(dirname "$0")/lib.sh"

printf '[run]\ntask = segment\n[data]\nformat = scenes\nfields = mask\ntrain_size = 12\nval_size = 4\nimg_size = 32\nitem_scale = 0.5,1\n[net]\nout = conv2d num_classes kernel_size=1\n' >scenes.ini
expect 0 "" "$CVRUN" pack scenes.ini out=data as=masks
printf '[run]\ntask = segment\n[data]\nformat = masks\nroot = data\n[net]\nout = conv2d num_classes kernel_size=1\n[train]\nbatch = 4\nepochs = 1\n[optim]\nlr = 0.01\n' >masks.ini
expect 0 "" "$CVRUN" pack masks.ini out=again as=masks
expect 2 "size= is for as=pack" "$CVRUN" pack masks.ini out=never size=16
diff -r data again || fail "what was read back is not what was written"
expect 0 "" "$CVRUN" train masks.ini name=files data.workers=0
cp scenes.ini made.ini
printf '[train]\nbatch = 4\nepochs = 1\n[optim]\nlr = 0.01\n' >>made.ini
expect 0 "" "$CVRUN" train made.ini name=made data.workers=0
cut -d, -f1-3 runs/segment/files/steps.csv >a.csv; cut -d, -f1-3 runs/segment/made/steps.csv >b.csv
same a.csv b.csv

says() { grep -qE -- "$1" out.txt || { cat out.txt >&2; fail "check does not say $1"; }; checks=$((checks + 1)); }
expect 0 "" "$CVRUN" check masks.ini
says '12 training and 4 validation pictures, 11 classes: 0 bad'
says '^  background +[0-9.]+ % +12 +[0-9.]+ % +4$'
says '^  \(ignored\) +0.000 % +0 +0.000 % +0$'

# One row a value: a BMP of 256 colours, 32 wide, as high as there are values
u32() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x00\\x00"; }
bmp() {
  local file=$1 value; shift
  { printf 'BM'; u32 $((1078 + 32 * $#)); u32 0; u32 1078; u32 40; u32 32; u32 $#; printf '\x01\x00\x08\x00'; u32 0; u32 0; u32 0; u32 0; u32 256; u32 0
    head -c 1024 /dev/zero
    for value; do head -c 32 /dev/zero | tr '\0' "\\$(printf %03o "$value")"; done; } >"$file"
}
rows() { local i; for ((i = 0; i < 32; i++)); do echo "$1"; done; }
mask() { rm data/train/masks/"$1".png; }
mask 000000
mask 000001; bmp data/train/masks/000001.bmp 0 1
mask 000002; bmp data/train/masks/000002.bmp 11 $(rows 0 | tail -n 31)
mask 000003; bmp data/train/masks/000003.bmp 38 75 113 255 $(rows 0 | tail -n 28)
mask 000004; printf '\xff\xd8\xff\xe0 smeared' >data/train/masks/000004.jpg
mask 000005; bmp data/train/masks/000005.bmp $(rows 255)
got=0; "$CVRUN" check masks.ini >out.txt 2>err.txt || got=$?
[ "$got" -eq 1 ] || fail "status $got where masks are bad"
says 'train/images/000000.png: a picture without a mask; put the mask at .*/train/masks/000000.png, or remove'
says 'train/masks/000001.bmp: the mask is 32 x 2, its picture 32 x 32; make it anew'
says 'train/masks/000002.bmp: the value 11 in a mask of 11 classes; name every class in classes.txt'
says 'train/masks/000003.bmp: the values 38, 75, 113: a VOC palette read as grey; save the palette.s indices'
says 'train/masks/000004.jpg: jpeg: a mask in a format that smears its values; make it anew and save it as PNG'
says 'train/images/000005.png: no pixel of its mask counts; remove it, or see data.ignore_index'
says '12 training and 4 validation pictures, 11 classes: 5 bad'
says '^  \(ignored\) +[1-9][0-9.]* % +1 +0.000 % +0$'

# black and white: 255 does not count unless it is a class
mkdir -p white/images white/masks
for i in 0 1 2 3; do
  cp data/val/images/00000$i.png white/images/$i.png
  bmp white/masks/$i.bmp $(rows 0 | tail -n 20) $(rows 255 | tail -n 12)
done
expect 0 "set data.mask_values = 0,255" "$CVRUN" check masks.ini data.root=white data.classes=2 data.val_split=0.5 batch=1
says 'every pixel is 0 or ignored; where masks are of black and white, data.mask_values = 0,255'
expect 0 "" "$CVRUN" check masks.ini data.root=white data.mask_values=0,255 data.val_split=0.5 batch=1 data.names=ground,thing
says '^  thing +37.500 % +2 +37.500 % +2$'
grep -q 'data.mask_values' out.txt err.txt && fail "a remedy where nothing is wrong"
expect 0 "set data.mask_values = 0,255" "$CVRUN" check masks.ini data.root=white data.names=ground,thing data.val_split=0.5 batch=1
says 'every pixel is ground or ignored'
expect 2 "2 values for" "$CVRUN" check masks.ini data.mask_values=0,255
expect 2 "how many classes" "$CVRUN" check masks.ini data.root=white data.val_split=0.5

# without a centre crop no picture is padded to the size of another: numbers are the same for every batch
mkdir -p sizes/images sizes/masks
for i in 1 2 3 4 5 6; do
  bmp sizes/images/$i.bmp $(rows 0 | tail -n $((4 * i)))
  bmp sizes/masks/$i.bmp $(rows 0 | tail -n $((3 * i))) $(rows 1 | tail -n $i)
done
sed 's/kernel_size=1/kernel_size=3 padding=1/; s/^root = .*/root = sizes\nnames = ground,thing\nval_split = 0.5\nmean = 0.5/' masks.ini >sizes.ini
expect 0 "" "$CVRUN" train sizes.ini name=sizes
for given in train.batch=1 train.batch=4 data.shapes=64; do
  expect 0 "" "$CVRUN" val --json runs/segment/sizes $given
  sed 's/"seconds": [^,]*,//' out.txt >"$given.json"
  same train.batch=1.json "$given.json"
done
grep -q '"protocol": "original size", "loss": 0' data.shapes=64.json || { cat data.shapes=64.json >&2; fail "no loss of unpadded pictures"; }
# and one whose mask is all ignored takes nothing from the loss of the others
for v in v1 v2; do
  mkdir -p $v/images $v/masks
  cp sizes/images/4.bmp $v/images; cp sizes/masks/4.bmp $v/masks
done
cp sizes/images/2.bmp v2/images; bmp v2/masks/2.bmp $(rows 255 | tail -n 8)
for v in v1 v2; do
  expect 0 "" "$CVRUN" val runs/segment/sizes data.val_split=0 data.train=sizes data.val=$v
  grep '^loss ' out.txt >$v.txt
done
same v1.txt v2.txt
grep -q '[0-9]' v1.txt || fail "no loss"

# predictions replace no picture that they are of
cp sizes/images/2.bmp sizes/images/2_mask.png; cp sizes/images/2.bmp kept.bmp
expect 2 "2_mask.png: one of the pictures to look at" "$CVRUN" predict runs/segment/sizes source=sizes/images predict.out=sizes/images
same kept.bmp sizes/images/2_mask.png
done_with masks_cli_test
