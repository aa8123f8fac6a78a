#!/usr/bin/env python3
"""cvrun prune's masks against torch.nn.utils.prune, where PyTorch is.

A small network is trained for an epoch, its weights are pruned by both, and the zeros must be the same: shares and
numbers, norms and axes, one ranking over all layers, and a second call, which counts what the first has left.

    tests/parity/prune.py build/bin/cvrun
"""
import json, struct, subprocess, sys, tempfile
try:
    import numpy as np
    import torch
    import torch.nn.utils.prune as prune
except ImportError as e:
    print(f"left out: {e}; pip install torch numpy")
    sys.exit(77)

RECIPE = """[run]
name = small
seed = 7
[data]
format = fake
size = 32
classes = 3
img_size = 12
[net]
c1 = conv2d 8 kernel_size=3 padding=1
r1 = relu
c2 = conv2d 12 kernel_size=3 padding=1
r2 = relu
a = adaptive_avg_pool2d 1
f = flatten
fc = linear num_classes
[train]
epochs = 1
batch = 8
"""
LAYERS = ["c1", "c2", "fc"]
# method, cvrun's settings, and what PyTorch is called with
CASES = [
    ("l1_unstructured", [["amount=0.5"], ["amount=0.3"]], lambda m, a: prune.l1_unstructured(m, "weight", a)),
    ("l1_unstructured", [["amount=7"], ["amount=5"]], lambda m, a: prune.l1_unstructured(m, "weight", a)),
    ("ln_structured", [["amount=0.4", "n=1"], ["amount=0.3", "n=1"]],
     lambda m, a: prune.ln_structured(m, "weight", a, n=1, dim=0)),
    ("ln_structured", [["amount=0.5", "n=2", "dim=1"]], lambda m, a: prune.ln_structured(m, "weight", a, n=2, dim=1)),
    ("ln_structured", [["amount=1", "n=0"]], lambda m, a: prune.ln_structured(m, "weight", a, n=float("inf"), dim=0)),
    ("global_unstructured", [["amount=0.35"], ["amount=0.5"]], None),
]


def run(*words, cwd):
    r = subprocess.run([str(w) for w in words], capture_output=True, text=True, cwd=cwd)
    if r.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{r.stdout}{r.stderr}")
    return r.stdout


def read(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        if name != "__metadata__" and t["dtype"] == "F32":
            a, b = t["data_offsets"]
            out[name] = np.frombuffer(raw[8 + n + a:8 + n + b], np.float32).reshape(t["shape"])
    return out


def modules(weights):
    made = {}
    for name in LAYERS:
        w = weights[name + ".weight"]
        m = torch.nn.Conv2d(w.shape[1], w.shape[0], w.shape[2:]) if w.ndim == 4 else torch.nn.Linear(w.shape[1], w.shape[0])
        with torch.no_grad():
            m.weight.copy_(torch.from_numpy(w.copy()))
        made[name] = m
    return made


def amount(settings):
    text = next(s for s in settings if s.startswith("amount="))[7:]
    return int(text) if text.isdigit() else float(text)


def main():
    cvrun = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        open(f"{folder}/small.ini", "w").write(RECIPE)
        run(cvrun, "train", "small.ini", cwd=folder)
        for method, calls, theirs in CASES:
            at, nets = f"{folder}/runs/classify/small", None
            for settings in calls:
                nets = nets or modules(read(f"{at}/weights/best.safetensors"))
                at = run(cvrun, "prune", at, f"method={method}", *settings, cwd=folder).strip().splitlines()[-1]
                if theirs:
                    for m in nets.values():
                        theirs(m, amount(settings))
                else:
                    prune.global_unstructured([(m, "weight") for m in nets.values()], prune.L1Unstructured,
                                              amount=amount(settings))
                ours = read(f"{at}/weights/best.safetensors")
                for name, m in nets.items():
                    mask = m.weight_mask.numpy()
                    if not np.array_equal(ours[name + ".weight_mask"], mask):
                        sys.exit(f"{method} {settings}: {name} has {int((mask == 0).sum())} zeros in PyTorch, "
                                 f"{int((ours[name + '.weight_mask'] == 0).sum())} here, or others")
                    if not np.array_equal(ours[name + ".weight"], m.weight.detach().numpy()):
                        sys.exit(f"{method} {settings}: the weights of {name} differ")
                print(f"{method} {' '.join(settings)}: the same zeros")


main()
