#!/usr/bin/env bash
# Whole runs in f32 end in the same bits with fuse_conv and fuse_elementwise as without passes: ConvNeXt (layer scale, stochastic
# depth, residual), VGG without norms, a small net. Each of them has something to fuse.
. "$(dirname "$0")/lib.sh"
# model NAME LINE...: a recipe of a model with these settings
model() {
  local name=$1; shift
  { printf '[run]\nseed = 7\n[data]\nformat = fake\nsize = 12\nclasses = 3\nimg_size = 32\n[train]\nepochs = 2\nbatch = 4\n'
    printf '[optim]\nname = sgd\nlr = 0.05\nmomentum = 0.9\n'
    printf '%s\n' "$@"; } >"$name.ini"
}
model convnext '[model]' 'name = convnext_tiny' 'width = 8' 'layers = 1,2' 'layer_scale = 0.5' 'drop_path = 0.4'
model vgg '[model]' 'name = vgg11' 'width = 8' 'classifier_width = 16' 'batch_norm = no'
model plain '[net]' 'c1 = conv2d 8 kernel_size=3' 'r1 = relu' 'c2 = conv2d 16 kernel_size=3' 'r2 = relu6' 'p = max_pool2d 2' 'f = flatten' \
  'l1 = linear 20' 'r3 = relu' 'fc = linear num_classes'
for name in convnext vgg plain; do
  for passes in none fuse_conv,fuse_elementwise; do
    "$CVRUN" train $name.ini name=$name-${passes:0:4} backend.passes=$passes log.trace=$passes.json >log.txt 2>&1 ||
      { cat log.txt >&2; fail "train $name, passes $passes"; }
  done
  same runs/classify/$name-fuse/weights/last.safetensors runs/classify/$name-none/weights/last.safetensors
  grep -qE '"op": "(elementwise|conv2d_act)' fuse_conv,fuse_elementwise.json || fail "nothing of $name is fused"
  # not by name: on a device an activation alone may be an `elementwise`, too
  [ "$(grep -c '"op": ' fuse_conv,fuse_elementwise.json)" -lt "$(grep -c '"op": ' none.json)" ] || fail "$name has as many nodes with passes as without"
  checks=$((checks + 1))
done
grep -q '"op": "elementwise_sum"' fuse_conv,fuse_elementwise.json || fail "no sum for a bias goes with its gradient"
done_with passes_cli_test
