#!/usr/bin/env bash
# [distill] and cvrun distill: the teacher is told of as it is, stays as it is, and is in none of the student's files; a run
# that was stopped ends in the same bits; what of teachers is refused.
. "$(dirname "$0")/lib.sh"
recipe small.ini
sed -i 's/size = 50/size = 64/' small.ini
# a teacher of another width
sed 's/conv2d 6/conv2d 9/' small.ini >large.ini
expect 0 "" "$CVRUN" train large.ini name=teacher epochs=4
teacher=runs/classify/teacher
metric() { sed -n "s/.*\"$2\": \([-0-9.e]*\).*/\1/p" "$1"; }
expect 0 "" "$CVRUN" val $teacher --json
top1=$(printf %.4f "$(metric out.txt top1)")

# It says what it says by itself; so it does after its pixels were brought to another mean, and to its own size and back.
under=(distill.teacher=$teacher)
expect 0 "teacher teacher: top1 $top1, top5 1.0000 on the validation data" "$CVRUN" train small.ini name=student "${under[@]}"
expect 0 "teacher teacher: top1 $top1," "$CVRUN" train small.ini name=shifted epochs=1 data.mean=0.3 data.std=0.7 "${under[@]}"
expect 0 "teacher teacher: top1" "$CVRUN" train small.ini name=bf16 epochs=1 distill.precision=bf16 "${under[@]}"
expect 0 "teacher teacher: top1" "$CVRUN" train small.ini name=larger epochs=1 imgsz=24 "${under[@]}"
# a quantised teacher says what the quantised run says
expect 0 "" "$CVRUN" quantize $teacher quant.pictures=16
expect 0 "" "$CVRUN" val $teacher-quantized --json
q=$(printf %.4f "$(metric out.txt top1)")
expect 0 "teacher teacher-quantized: top1 $q," "$CVRUN" train small.ini name=int8 epochs=1 distill.teacher=$teacher-quantized data.mean=0.3
expect 0 "teacher teacher-quantized: top1 $q," "$CVRUN" train small.ini name=asked epochs=1 distill.teacher=$teacher-quantized distill.precision=int8
expect 2 "distill.precision: \`ptq\` has made integers of this teacher" "$CVRUN" train small.ini distill.precision=bf16 distill.teacher=$teacher-quantized
expect 2 "make it some by cvrun quantize" "$CVRUN" train small.ini distill.precision=int8 "${under[@]}"
# a pruned teacher says what the pruned run says, in f32 and on integers, and so does one with masks; its layers can be looked at
expect 0 "" "$CVRUN" prune $teacher amount=0.6 round_to=1 pictures=16
expect 0 "" "$CVRUN" val $teacher-pruned --json
p=$(printf %.4f "$(metric out.txt top1)")
expect 0 "teacher teacher-pruned: top1 $p," "$CVRUN" train small.ini name=narrow epochs=1 distill.teacher=$teacher-pruned
expect 0 "teacher teacher-pruned: top1" "$CVRUN" train small.ini name=narrow16 epochs=1 distill.teacher=$teacher-pruned distill.precision=bf16 distill.method=attention distill.layers=r1
expect 0 "" "$CVRUN" quantize $teacher-pruned quant.pictures=16
expect 0 "" "$CVRUN" val $teacher-pruned-quantized --json
q=$(printf %.4f "$(metric out.txt top1)")
expect 0 "teacher teacher-pruned-quantized: top1 $q," "$CVRUN" train small.ini name=narrow8 epochs=1 distill.teacher=$teacher-pruned-quantized
expect 0 "" "$CVRUN" prune $teacher method=l1_unstructured amount=0.8 pictures=16
expect 0 "" "$CVRUN" val $teacher-pruned-2 --json
p=$(printf %.4f "$(metric out.txt top1)")
expect 0 "teacher teacher-pruned-2: top1 $p," "$CVRUN" train small.ini name=masked epochs=1 distill.teacher=$teacher-pruned-2
cp -r $teacher-pruned bad
sed -i '/^\[widths\]/{n;s,/[0-9]* .*,/16 ffff,}' bad/config.ini
expect 2 "is of 16 units" "$CVRUN" train small.ini name=bad epochs=1 distill.teacher=bad

# A student that is the teacher has nothing to learn, whatever the augmentation: both see the same pixels and compute the same.
sed '/^b1/d; /^d = /d' small.ini >plain.ini
expect 0 "" "$CVRUN" train plain.ini name=plain epochs=1
expect 0 "" "$CVRUN" train plain.ini name=itself epochs=1 lr=1e-12 model.weights=runs/classify/plain/weights/best.safetensors distill.teacher=runs/classify/plain
awk -F, 'NR > 1 && $4 ^ 2 > 1e-10 { print; exit 1 }' runs/classify/itself/steps.csv || fail "the teacher sees something else"

# It is in no file of the student, whose run is an ordinary one, also without its teacher; it learns something else than alone.
expect 0 "" "$CVRUN" train small.ini name=alone
for f in best.safetensors last.safetensors last.state; do
  grep -aq 'teacher\.c1\|distill\.' runs/classify/student/weights/$f && fail "the teacher is in $f"
  cmp -s runs/classify/student/weights/$f runs/classify/alone/weights/$f && fail "the teacher teaches nothing"
  checks=$((checks + 1))
done
[ "$(stat -c %s runs/classify/student/weights/last.safetensors)" = "$(stat -c %s runs/classify/alone/weights/last.safetensors)" ] || fail "weights of another size"
grep -q '^step,epoch,loss,loss_distill,loss_output,' runs/classify/student/steps.csv || fail "$(head -1 runs/classify/student/steps.csv)"
# the sum that is trained: 0.1 of the task's loss, and the teacher's
awk -F, 'NR > 1 && ($3 - $4 - 0.1 * $5) ^ 2 > 1e-10 { exit 1 }' runs/classify/student/steps.csv || fail "the losses do not add up"

# Stopped and resumed, whatever the threads and the way a batch is cut, with parameters of the distiller's own: the same bits.
for method in "hinton" "hints distill.layers=r1" "dkd distill.warmup=2"; do
  args=(distill.method=${method%% *} "${under[@]}" train.epochs=2 "run.save_every=3 steps" optim.momentum=0.9)
  [ "${method#* }" = "$method" ] || args+=("${method#* }")
  expect 0 "" "$CVRUN" train small.ini name=whole-${method%% *} "${args[@]}" backend.threads=1
  cp -r runs/classify/whole-${method%% *} runs/classify/cut-${method%% *}
  # a run that was killed: its last checkpoint in mid-epoch, the one before the end
  cp runs/classify/cut-${method%% *}/weights/last.state.1 runs/classify/cut-${method%% *}/weights/last.state
  rm runs/classify/cut-${method%% *}/weights/*.safetensors
  expect 0 "" "$CVRUN" train --resume runs/classify/cut-${method%% *} backend.threads=3
  same runs/classify/cut-${method%% *}/weights/last.safetensors runs/classify/whole-${method%% *}/weights/last.safetensors
done
grep -aq 'distill\.r1\.conv' runs/classify/whole-hints/weights/last.state || fail "what the distiller trains is not in the checkpoint"
grep -aq 'distill\.r1' runs/classify/whole-hints/weights/last.safetensors && fail "what the distiller trains is in the weights"
expect 0 "" "$CVRUN" val runs/classify/whole-hints
expect 0 "" "$CVRUN" train small.ini name=parts "${under[@]}" epochs=1 train.grad_accum=2 distill.method=attention distill.layers=r1

# cvrun distill trains a run further, and goes on.
expect 0 "" "$CVRUN" distill runs/classify/alone teacher=$teacher epochs=1 T=2 alpha=0.5
grep -q "^$work/runs/classify/alone-distilled$" out.txt || fail "where it is: $(cat out.txt)"
for key in method teacher before after metrics params macs file_bytes planned_memory_bytes ms_batch1 ms_batch32; do
  grep -q "\"$key\"" runs/classify/alone-distilled/compress.json || fail "compress.json lacks $key"
done
grep -qx 'T = 2' runs/classify/alone-distilled/config.ini || fail "T is not in config.ini"
expect 0 "" "$CVRUN" distill --resume runs/classify/alone-distilled train.epochs=2
expect 0 "" "$CVRUN" export runs/classify/alone-distilled format=safetensors
expect 2 "there is no teacher" "$CVRUN" distill runs/classify/alone
# What config.ini has of one method is not taken for another.
expect 0 "" "$CVRUN" distill runs/classify/alone-distilled teacher=$teacher method=deit epochs=1
grep -qx 'alpha = 0.5' runs/classify/alone-distilled-distilled/config.ini || fail "deit has another method's alpha"
# The run that is trained further is measured on the data of the new one.
expect 0 "" "$CVRUN" val runs/classify/alone data.limit=20 --json
limited=$(metric out.txt loss)
expect 0 "" "$CVRUN" distill runs/classify/alone teacher=$teacher epochs=1 data.limit=20
[ "$(metric "$(tail -1 out.txt)/compress.json" loss | head -1)" = "$limited" ] || fail "before is of other data: $(cat out.txt)"

# A file of weights as a teacher; another file than before; classes in another order, and others.
expect 2 "set distill.model=NAME" "$CVRUN" train small.ini distill.teacher=$teacher/weights/best.safetensors
cp $teacher/weights/best.safetensors kept
expect 0 "" "$CVRUN" train large.ini name=other epochs=1 seed=8
cp runs/classify/other/weights/best.safetensors $teacher/weights/best.safetensors
expect 2 "is not the teacher that this run began with" "$CVRUN" train --resume runs/classify/student train.epochs=4
expect 0 "" "$CVRUN" train --resume runs/classify/student train.epochs=4 distill.sha256=
cp kept $teacher/weights/best.safetensors
expect 0 "" "$CVRUN" train large.ini name=named epochs=4 data.names=a,b,c
expect 0 "teacher named: top1 $top1," "$CVRUN" train small.ini name=same epochs=1 data.names=a,b,c distill.teacher=runs/classify/named
expect 0 "" "$CVRUN" train small.ini name=turned epochs=1 data.names=b,c,a distill.teacher=runs/classify/named
grep -q "teacher named: top1 $top1," err.txt && fail "classes in another order are taken as they stand"
expect 2 "distill.teacher knows the classes a,b,c, and the data has a,b,d: they must be the same" "$CVRUN" train small.ini data.names=a,b,d distill.teacher=runs/classify/named

# Other mistakes.
expect 2 "is not there" "$CVRUN" train small.ini distill.teacher=nowhere
expect 2 "there is no distill.teacher" "$CVRUN" train small.ini distill.method=dkd
expect 2 "did you mean \`hinton\`" "$CVRUN" train small.ini "${under[@]}" distill.method=hintom
expect 2 "name some in distill.layers" "$CVRUN" train small.ini "${under[@]}" distill.method=hints
expect 2 "distill.layers: of the teacher there is no layer \`r7\`" "$CVRUN" train small.ini "${under[@]}" distill.method=hints distill.layers=r1:r7
expect 2 "distill.layers: of the student there is no layer \`r8\`" "$CVRUN" train small.ini "${under[@]}" distill.method=hints distill.layers=r8:r1
expect 2 "looks at pictures of 3 channels, and these have 1" "$CVRUN" train small.ini "${under[@]}" model.in_channels=1
done_with distill_cli_test
