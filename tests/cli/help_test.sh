#!/usr/bin/env bash
# `cvrun help`: everything that there is has a page, docs/reference.md is what the program prints, examples work, hints are near.
. "$(dirname "$0")/lib.sh"
unset CVR_PLUGIN_PATH
"$CVRUN" help --markdown >reference.md
# what this machine could not build has pages there all the same
"$CVRUN" plugins >plugins.txt
lacks=$(for name in cuda pjrt vulkan; do grep -q "^$name " plugins.txt || echo -n " $name "; done)
awk -v lacks="$lacks" '/^##/ {skip = /^### / && index(lacks, " " $2 " ")} !skip' "$here/../../docs/reference.md" >pages.md
diff pages.md reference.md >diff.txt || { head -20 diff.txt; fail "docs/reference.md is not what cvrun prints; run cvrun help --markdown >docs/reference.md"; }
checks=$((checks + 1))

# every registered name has a page, in the file and by its name
"$CVRUN" plugins --json | tr ' "' '\n\n' | grep -E '^(layer|augment|optimizer|scheduler|dataset|model|task|backend|pass|gradient|codec|weights|reporter):' | sort -u >names.txt
[ "$(wc -l <names.txt)" -gt 90 ] || fail "only $(wc -l <names.txt) names"
while IFS=: read -r kind name; do
  escaped=${name//_/\\_}
  grep -qxF "### $escaped" reference.md || fail "no page for $kind $name"
  checks=$((checks + 1))
done <names.txt
for name in $(shuf -n 12 --random-source=names.txt names.txt); do
  "$CVRUN" help "${name#*:}" >page.txt && grep -q "^${name#*:} (" page.txt || fail "help ${name#*:}"
done

# every setting has a default or must be given, something that it may be, and a meaning; every page fits 80 columns
grep -E '^\| `' reference.md >rows.txt
[ "$(wc -l <rows.txt)" -gt 200 ] || fail "only $(wc -l <rows.txt) settings"
grep -vE '^\| `[a-zA-Z0-9_]+` \| (`[^`]+`|must be given|empty) \| [^|]+ \| [^|]+ \|$' <(sed 's/\\|//g' rows.txt) && fail "a setting without default, values or meaning"
for topic in "" layers augment optim sched data models tasks predictions backends passes gradients codecs weights reports sections run train val predict bench \
    pack check convert conv2d random_crop adamw resnet50 scenes classify train.batch optim.betas; do
  "$CVRUN" help $topic >page.txt || fail "help $topic"
  awk 'length > 80 {print; bad = 1} END {exit bad}' page.txt || fail "help $topic is wider than 80 columns"
  checks=$((checks + 1))
done

# a command's page is wrapped once: no line ends where the next word would have fitted
for command in train val predict info cfg check bench pack plugins convert conform ctl; do
  "$CVRUN" "$command" --help >page.txt
  awk '{match($0, /^ */); n = RLENGTH; first = $1
        if (NR > 3 && NF && length(prev) && n == indent && first !~ /^-/ && prev !~ /^-/ && prev !~ /[.:]$/ && prev !~ /[^ ]  +[^ ]/ && length(prev) + 1 + length(first) < 80) {print prev "\n" $0; bad = 1}
        prev = $0; indent = n} END {exit bad}' page.txt || fail "help $command is wrapped twice"
  checks=$((checks + 1))
done

# lists of transforms by name
for topic in preset augment; do
  "$CVRUN" help $topic >page.txt && grep -qE '^  multiscale +random_shortest_size, random_horizontal_flip$' page.txt || fail "help $topic does not list what preset may be"
  checks=$((checks + 1))
done

# examples work: those of sections and plugins as settings of a recipe, those of layers in a network
recipe base.ini
sed -i 's/^img_size.*/img_size = 32/; /^\[net\]/,/^fc/d; /^\[augment\]/,/^random_rotation/d; /^momentum/d; /^warmup/d; /^size/d; /^classes/d; /^weight_decay/d' base.ini
awk '/^### / {name = $2} /^```ini/ {block = 1; next} /^```/ {if (block) print ""; block = 0} block && NF {print}' reference.md |
  awk '/^$/ {if (text) print text; text = ""; next} /^\[/ {section = substr($0, 2, length($0) - 2); next} {split($0, kv, " = "); sub(/^[^=]*= ?/, "");
    if (text) text = text "\t"; else text = ""; key = kv[1]; sub(/ =$/, "", key); text = text section "." key "=" $0} END {if (text) print text}' >examples.txt
[ "$(wc -l <examples.txt)" -gt 80 ] || fail "only $(wc -l <examples.txt) examples"
while IFS=$'\t' read -r -a words; do
  [[ ${words[0]} == net.* ]] && continue
  model=model.name=resnet18_cifar
  [[ ${words[0]} == model.* ]] && model=
  "$CVRUN" cfg base.ini $model "${words[@]}" >out.txt 2>err.txt || { cat err.txt; fail "the example ${words[*]}"; }
  checks=$((checks + 1))
done <examples.txt
while IFS=$'\t' read -r -a words; do
  case ${words[0]} in net.x*) line=${words[0]#net.} ;; *) continue ;; esac
  line=${line/=/ = }
  shape=picture
  case ${line#*= } in *attention* | from_tokens* | layer_norm\ *) shape=tokens ;; linear*) shape=flat ;; reshape*) shape=pooled ;; window_merge*) shape=windows ;; esac
  case ${line#*= } in cross_entropy* | bce* | mse* | l1* | smooth_l1* | dice* | jaccard* | tversky* | *focal* | lovasz* | ohem*) continue ;; esac # losses: what a task adds
  case ${line#*= } in take_rows*) continue ;; esac # takes whole numbers, which only a model has
  { sed '/^\[train\]/,$d' base.ini; echo '[net]'
    case $shape in
      picture) printf 'a = conv2d 16 3 padding=1\nb = relu\n' ;;
      tokens) printf 'p = conv2d 16 3 padding=1\na = to_tokens\nc = relu\nb = relu\n' ;;
      pooled) printf 'a = conv2d 16 3 padding=1\nb = adaptive_avg_pool2d 1\n' ;;
      windows) printf 'p = conv2d 16 3 padding=1\na = window_partition 1\n' ;;
      flat) printf 'c = conv2d 16 3 padding=1\na = flatten\nb = relu\n' ;;
    esac
    echo "$line"
    case ${line#*= } in window_partition*) echo 'm = window_merge 1 size=32' ;; esac # a sequence a picture again
    printf 'g = flatten\nout = linear num_classes\n'; } >layer.ini
  "$CVRUN" info layer.ini >out.txt 2>err.txt || { cat layer.ini err.txt; fail "the example $line"; }
  checks=$((checks + 1))
done <examples.txt

# hints look at case, at beginnings, at values; what there is is listed where nothing is near
hint() { expect 2 "$1" "$CVRUN" help "$2"; }
hint 'did you mean `kernel_size`?' kernel
hint 'did you mean `conv2d`?' conv2b
hint '`cvrun help` lists what there is' zzzzzzzz
"$CVRUN" help adamW | grep -q '^adamw (optimizer)' && "$CVRUN" help bf16x3 | grep -q '^backend.precision' || fail "case and values"
"$CVRUN" help train >page.txt && grep -q '^cvrun train RECIPE' page.txt && grep -q '^\[train\]' page.txt || fail "a command and a section of one name"
checks=$((checks + 2))
recipe good.ini
wrong() { sed "$2" good.ini >bad.ini; expect 2 "$1" "$CVRUN" train bad.ini; }
wrong 'did you mean `adamw`?' 's/^name = sgd/name = adamW/'
wrong 'conv2d has no setting `kernel`; did you mean `kernel_size`?' 's/kernel_size=3/kernel=3/'
wrong 'conv2d has no setting `zzz`; there are out_channels, kernel_size' 's/kernel_size=3/zzz=3/'
wrong 'there is no optimizer `zzzzz`; there are adam, adamw, lamb, lars, lion, nadam, rmsprop, sgd' 's/^name = sgd/name = zzzzz/'
wrong 'must be one of fail|skip; did you mean `skip`?' 's/^workers = 2/on_error = Skip/'

wrong 'unknown key `zzzzz` in [optim]; there are name, lr, ' 's/^momentum = 0.9/zzzzz = 1/'
expect 2 'did you mean `train.batch`?' "$CVRUN" help train.btach
expect 2 'did you mean `train.batch`?' "$CVRUN" help trian.batch
expect 2 'did you mean `optim.sgd`?' "$CVRUN" help optim.sdg
expect 2 '`cvrun help` lists what there is' "$CVRUN" help foo.bar

# the place is said of whatever stands on the command line
for words in optm.lr=1 lrr=1 optim.name=sdg optim.zzz=1 val.metric=Top1 train.batch=many optim.lr=much train.=1; do
  expect 2 'error: command line: ' "$CVRUN" train good.ini "$words"
done
expect 0 'no plugin asks for the CPU feature `avx1024`' "$CVRUN" info good.ini backend.isa=avx1024

# what is wrong with the command line or the environment is said at the start
expect 2 '--resume wants a run folder' "$CVRUN" train --resume
expect 2 '--resume nowhere: is not there' "$CVRUN" train --resume nowhere
expect 2 '--resume good.ini: is a file' "$CVRUN" train --resume good.ini
expect 2 '--swap-to wants BACKEND@STEP' "$CVRUN" train good.ini --swap-to
expect 2 '--swap-to: there is no backend `cudo`' "$CVRUN" train good.ini --swap-to cudo@1000000
[ ! -e runs ] || fail "a run folder was made"
mkdir empty; touch mine.so
CVR_PLUGIN_PATH=nowhere expect 1 'nowhere: this entry of CVR_PLUGIN_PATH is not there' "$CVRUN" plugins
CVR_PLUGIN_PATH=empty expect 1 'has no plugins.ini' "$CVRUN" train good.ini
CVR_PLUGIN_PATH=mine.so expect 1 'is a plugin; name its folder' "$CVRUN" train good.ini
done_with help_test
