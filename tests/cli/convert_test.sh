#!/usr/bin/env bash
# PyTorch's files as a network's weights, and `cvrun convert` of them: the network's outputs are the same to the bit.
. "$(dirname "$0")/lib.sh"
golden=$here/../golden/pth

for kind in zip old; do
  expect 0 "" "$CVRUN" convert "$golden/network_$kind.pth" "$kind.safetensors"
  grep -q "^$kind.safetensors: 7 tensors, " out.txt || fail "the result's line: $(cat out.txt)"
done
expect 0 "" "$CVRUN" convert zip.safetensors again.safetensors
same zip.safetensors again.safetensors

# what is there stays there
expect 2 "again.safetensors: is there already; give force=yes" "$CVRUN" convert old.safetensors again.safetensors
same zip.safetensors again.safetensors
expect 0 "" "$CVRUN" convert again.safetensors again.safetensors force=yes
same zip.safetensors again.safetensors

# what cannot be
expect 2 "convert has the settings cfg=FILE, in_channels=N and force=yes" "$CVRUN" convert zip.safetensors new.safetensors dtype=f16
expect 2 "Usage: cvrun convert IN OUT" "$CVRUN" convert zip.safetensors
expect 2 "one word too many" "$CVRUN" convert zip.safetensors a.safetensors b.safetensors
expect 1 "pth files are only read" "$CVRUN" convert zip.safetensors new.pth
expect 2 "its ending is none of a format of weights (.weights, .pth, .safetensors)" "$CVRUN" convert zip.safetensors new.onnx
expect 1 "no file of weights that any plugin knows (.weights, .pth, .safetensors)" "$CVRUN" convert "$here/lib.sh" new.safetensors
expect 1 "bad_os_system_zip.pth: pickle, byte" "$CVRUN" convert "$golden/bad_os_system_zip.pth" new.safetensors
expect 1 "'posix.system'" "$CVRUN" convert "$golden/bad_os_system_old.pth" new.safetensors
expect 1 "\`f8\` is F8_E4M3, a type that cvrun has not" "$CVRUN" convert "$golden/v3.pth" new.safetensors
expect 1 "cannot open it" "$CVRUN" convert none.pth new.safetensors
[ -z "$(ls | grep '^new' || true)" ] || fail "a refused conversion left $(ls | grep '^new')"

# the files as they are, as the weights of a network
recipe r.ini
expect 0 "" "$CVRUN" train r.ini epochs=1
printf '[run]\nname = n\n[data]\nformat = fake\nimg_size = 5\nclasses = 2\n[model]\nnum_classes = 2\n[net]\nconv = conv2d 2 kernel_size=2\nbn = batch_norm2d\ngap = adaptive_avg_pool2d 1\nf = flatten\n' >n.ini
outputs() {
  expect 0 "" "$CVRUN" predict n.ini source=runs/classify/small/results.png predict.raw=yes "model.weights=$2" "predict.out=$1"
}
outputs p1 zip.safetensors
for file in old.safetensors "$golden/network_zip.pth" "$golden/network_old.pth"; do
  outputs p2 "$file"
  same p1/raw.safetensors p2/raw.safetensors
done
expect 1 "missing:" "$CVRUN" predict n.ini source=runs/classify/small/results.png "model.weights=$golden/views_zip.pth" predict.out=p3
expect 1 "'posix.system'" "$CVRUN" predict n.ini source=runs/classify/small/results.png "model.weights=$golden/bad_os_system_zip.pth" predict.out=p3
done_with convert_test
