#!/usr/bin/env bash
# Data as users have it, end to end: the same pictures in folders, a CSV file and tar shards train alike; data.cache; what cvrun check
# says of duplicates and classes; pictures with several classes.
. "$(dirname "$0")/lib.sh"

# 48 + 16 pictures of 3 classes, of several sizes, as PNG
printf '[data]\nformat = fake\nsize = 48\nclasses = 3\nimg_size = 20\nnames = a,b,c\n[net]\nf = flatten\nfc = linear num_classes\n' >fake.ini
expect 0 "" "$CVRUN" pack fake.ini out=tree as=folder
net='[augment]\nrandom_resized_crop = 16\n[train]\nepochs = 2\nbatch = 8\n[optim]\nlr = 0.01\n[net]\nf = flatten\nfc = linear num_classes\n'
printf "[data]\nformat = folder\nroot = tree\nimg_size = 16\n$net" >folder.ini
losses() { cut -d, -f1-3 "runs/classify/$1/steps.csv"; }
# same NAME RECIPE settings...: trains to the same losses as the folder
same() {
  local name=$1; shift
  expect 0 "" "$CVRUN" train "$@" name="$name"
  [ "$(losses "$name")" = "$(losses folder)" ] || fail "$name trains otherwise than the folder"
}
expect 0 "" "$CVRUN" train folder.ini name=folder

# csv: rows in the folder's order
for split in train val; do
  { echo 'file,label'; (cd tree && find $split -name '*.png' | LC_ALL=C sort | awk -F/ '{ print "\"" $0 "\"," $2 }'); } >tree/$split.csv
done
sed 's/= folder/= csv/' folder.ini >csv.ini
same csv csv.ini

# tar: names that sort as the files do; each format of tar that GNU tar writes, in two shards
mkdir shards flat
i=0
for split in train val; do
  while read -r file; do
    class=${file#*/}; class=${class%%/*}
    printf -v name '%s-%05d' $split $((i++))
    cp "tree/$file" "flat/$name.png"; case $class in a) echo 0 ;; b) echo 1 ;; c) echo 2 ;; esac >"flat/$name.cls"
  done < <(cd tree && find $split -name '*.png' | LC_ALL=C sort)
done
for format in ustar pax gnu; do
  (cd flat && tar --format=$format -cf ../shards/train-0.tar train-0000* && tar --format=$format -cf ../shards/train-1.tar train-000[1-9]* && tar --format=$format -cf ../shards/val-0.tar val-*)
  sed 's/= folder/= tar/; s/= tree/= shards/' folder.ini >tar.ini
  same tar-$format tar.ini
done

# a cache in memory changes nothing, whether all fits or little, with one worker or three
same cached folder.ini data.cache=ram data.workers=3
same little folder.ini data.cache=ram data.cache_size=4000 data.workers=0
expect 2 'data.cache=ram keeps whole' "$CVRUN" train folder.ini data.cache=ram data.decode=reduced

# check: sizes, balance, duplicates
expect 0 "" "$CVRUN" check folder.ini
grep -q 'after the transforms: 3 channels, height x width 16x16 at most' out.txt || fail "sizes"
grep -q 'duplicates: 0 within training, 0 within validation, 0 in both' out.txt || fail "no duplicates"
one=$(find tree/train/a -name '*.png' | head -1)
cp "$one" tree/train/b/copy.png; cp "$one" tree/val/c/copy.png
expect 0 "" "$CVRUN" check folder.ini
grep -q 'duplicates: 1 within training, 0 within validation, 1 in both' out.txt || { cat out.txt >&2; fail "duplicates"; }
grep -q 'duplicate: .*val/c/copy.png is the same as .*(validation, training)' out.txt || fail "a duplicate is not named"
grep -q 'training: .* pictures a class (fewest .*, most .*)' out.txt || fail "balance"
# a line a class, by the names that the run has, of the pictures that it uses
says() { grep -qE -- "$1" out.txt || { cat out.txt >&2; fail "check does not say $1"; }; checks=$((checks + 1)); }
expect 0 "" "$CVRUN" check folder.ini data.names=circle,square,star
says "^  square  *$(ls tree/train/b | wc -l)  *$(ls tree/val/b | wc -l)$"
says 'fewest (circle|square|star), most (circle|square|star)'
expect 0 "" "$CVRUN" check folder.ini data.limit=10
says '^folder.ini: 10 training and 10 validation pictures, '
[ "$(awk '/^  [abc] / {n += $2; m += $3} END {print n, m}' out.txt)" = '10 10' ] || { cat out.txt >&2; fail "data.limit"; }
mkdir one; for c in a b; do for s in train val; do mkdir -p one/$s/$c; cp "$(ls tree/$s/$c/*.png | head -1)" one/$s/$c; done; done
printf x >one/train/a/x.avif
expect 0 '1 picture is left out, since no codec reads its format' "$CVRUN" check folder.ini data.root=one batch=1
says '^training: 1 picture a class$'
grep -q 'fewest' out.txt && fail "a fewest where all are equal"
expect 0 "" "$CVRUN" check folder.ini data.root=one batch=1 model.in_channels=1
says '^after the transforms: 1 channel, height'
done_with data_test
