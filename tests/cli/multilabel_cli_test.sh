#!/usr/bin/env bash
# Several classes a picture, from a CSV file to predictions: a class is a colour channel that is on. Also from its pack, one class a
# picture with the same task, the keys of the loss, and what is refused.
. "$(dirname "$0")/lib.sh"

# picture FILE RED GREEN BLUE: a BMP of 4 x 4 pixels of one colour
picture() {
  local pixel=$(printf '\\x%02x\\x%02x\\x%02x' "$4" "$3" "$2") row
  row=$pixel$pixel$pixel$pixel
  printf "BM\x66\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\4\0\0\0\4\0\0\0\1\0\x18\0\0\0\0\0\x30\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0$row$row$row$row" >"$1"
}

# every combination of the channels, five shades of each: 40 pictures, every fifth to validate
mkdir pictures
for split in train val; do echo file,label >$split.csv; done
echo file,label >one.csv
for ((i = 0; i < 40; i++)); do
  shade=$((i / 8)) names=() level=()
  for c in 0 1 2; do
    if ((i >> c & 1)); then level[c]=$((180 + 15 * shade)); names+=($(echo red green blue | cut -d' ' -f$((c + 1)))); else level[c]=$((12 * shade)); fi
  done
  picture pictures/p$i.bmp "${level[@]}"
  list=train; [ $shade -eq 4 ] && list=val
  echo "p$i.bmp,$(IFS='|'; echo "${names[*]}")" >>$list.csv
  [ ${#names[@]} -ne 1 ] || echo "p$i.bmp,${names[0]}" >>one.csv
done

cat >several.ini <<'INI'
[run]
name = several
task = multilabel
seed = 1
[data]
format = csv
train = train.csv
val = val.csv
images = pictures
label_separator = |
workers = 1
[net]
f = flatten
fc = linear num_classes
[train]
epochs = 60
batch = 8
[optim]
name = adam
lr = 0.03
INI
train() { "$CVRUN" train "$@" >log.txt 2>&1 || { cat log.txt >&2; fail "train $*"; }; }
column() { awk -F, -v c="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == c) at = i } END { print $at }' "$1"; }
is() { [ "$1" = "$2" ] || fail "$3: $1 instead of $2"; checks=$((checks + 1)); }

train several.ini val.metric=f1_macro
run=runs/multilabel/several
for metric in map f1 f1_macro; do awk -v x="$(column $run/results.csv $metric)" 'BEGIN { exit !(x == 1) }' || { cat $run/results.csv >&2; fail "$metric is not 1"; }; done
is "$(head -1 $run/per_class.csv)" "class,ap,f1,positives" "the columns of per_class.csv"
grep -q '^"*green"*,1[.0]*,1[.0]*,4' $run/per_class.csv || { cat $run/per_class.csv >&2; fail "per_class.csv lacks green"; }
[ -s $run/train_batch0.png ] && [ -s $run/val_batch0.png ] || fail "no pictures of the first batches"

# predictions: a row for each class, none of black but the likeliest
expect 0 "" "$CVRUN" predict $run source=pictures predict.out=said
rows() { grep "/p$1.bmp\"" said/predictions.csv | cut -d, -f5 | tr -d '"' | sort | tr '\n' ' '; }
is "$(rows 39)" "blue green red " "white"
is "$(rows 38)" "blue green " "cyan"
is "$(rows 33)" "red " "red"
is "$(rows 32 | wc -w)" 1 "classes of black"
is "$(head -1 said/predictions.csv)" "file,width,height,index,name,prob" "the CSV file's header"
is "$(grep -c '"file"' said/predictions.json)" 40 "pictures in predictions.json"
expect 0 "" "$CVRUN" predict $run source=pictures/p0.bmp predict.out=all train.threshold=0
is "$(wc -l <all/predictions.csv)" 4 "rows of a picture where every class counts"

# the same bits from the pack, and with two workers
sed 's/^format = csv/format = pack/; s/^train = .*/root = packed/; /^val = /d; /^images = /d; /^label_separator/d; s/^name = several/name = packed/' several.ini >packed.ini
expect 0 "" "$CVRUN" pack several.ini out=packed
train packed.ini val.metric=f1_macro data.workers=2
same runs/multilabel/packed/weights/last.safetensors $run/weights/last.safetensors

# the loss is linear in its target, so that smoothing mixes two losses: at s = 1 the target is a half, or a third, of each class
loss() { sed -n 2p runs/multilabel/$1/steps.csv | cut -d, -f3; }
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(d <= 1e-5 * b) }' || fail "$3: $1 is not $2"; checks=$((checks + 1)); }
mix() { awk -v a="$1" -v b="$2" -v s="$3" 'BEGIN { printf "%.9g", (1 - s) * a + s * b }'; }
short=(train.epochs=1 val.interval=0)
train several.ini name=s0 "${short[@]}"
train several.ini name=s1 "${short[@]}" train.label_smoothing=1
train several.ini name=s3 "${short[@]}" train.label_smoothing=0.3
near "$(loss s3)" "$(mix "$(loss s0)" "$(loss s1)" 0.3)" "dense smoothing"
train several.ini name=t1 "${short[@]}" train.label_smoothing=1 train.smooth_dense=no
train several.ini name=t3 "${short[@]}" train.label_smoothing=0.3 train.smooth_dense=no
near "$(loss t3)" "$(mix "$(loss s0)" "$(loss t1)" 0.3)" "smoothing over the classes"
[ "$(loss t1)" != "$(loss s1)" ] || fail "both ways to smooth are one"
train several.ini name=w1 "${short[@]}" train.pos_weight=1
train several.ini name=w3 "${short[@]}" train.pos_weight=3,3,3
train several.ini name=w5 "${short[@]}" train.pos_weight=5
near "$(loss w1)" "$(loss s0)" "weights of 1"
near "$(loss w3)" "$(mix "$(loss w1)" "$(loss w5)" 0.5)" "weights of 3, between 1 and 5"
[ "$(loss w3)" != "$(loss w1)" ] || fail "train.pos_weight changes nothing"

# one class a picture, mixed or not; mixing of several
train several.ini name=one train.epochs=2 data.train=one.csv data.val=one.csv data.label_separator=
train several.ini name=mixup train.epochs=2 augment.mixup=
train several.ini name=cutmix train.epochs=2 data.train=one.csv data.val=one.csv data.label_separator= augment.cutmix=

expect 2 "have several classes each; set run.task = multilabel" "$CVRUN" train several.ini run.task=classify
expect 2 "have several classes each; set run.task = multilabel" "$CVRUN" train packed.ini run.task=classify
expect 2 "train.pos_weight = 1,2; give a number from 0 on for all classes, or 3 of them" "$CVRUN" train several.ini train.pos_weight=1,2
expect 2 "train.pos_weight = 1,x,2; give" "$CVRUN" train several.ini train.pos_weight=1,x,2
expect 2 "set train.pos_weight instead" "$CVRUN" train several.ini train.class_weights=1,2,3
expect 2 "change its last layer" "$CVRUN" train several.ini net.fc="linear 4"
done_with multilabel_cli_test
