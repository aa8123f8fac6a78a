#!/usr/bin/env python3
"""cvrun quantize and its ONNX file against ONNX Runtime, in `tests/run.sh --all` where onnx, onnxruntime, numpy and pillow are.

For each network: an epoch on made-up pictures, quantised, exported; the file is checked by onnx.checker (full), and
ONNX Runtime makes integers of it. The results for pictures, at batch 1 and 5, are those of `cvrun predict
predict.raw=yes`, bit for bit on a CPU with VNNI, else within one level. Of U-Net and a small transformer ONNX Runtime computes some layers
in f32 (transposed convolutions, attention): there the ops are named, and results may be some levels apart, as what is rounded the other
way in one layer goes through those behind it.

    tests/parity/onnx_int8.py build/bin/cvrun [NAME ...] [--run RUN_DIR]
"""
import json, os, struct, subprocess, sys, tempfile
from collections import Counter
try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from PIL import Image
except ImportError as e:
    print(f"left out: {e}; pip install numpy onnx onnxruntime pillow")
    sys.exit(77)

DEMO = """[net]
conv1 = conv2d 32 kernel_size=3 padding=1 bias=no
bn1 = batch_norm2d
relu1 = relu
pool1 = max_pool2d 2
conv2 = conv2d 64 kernel_size=3 padding=1 bias=no
bn2 = batch_norm2d
relu2 = relu
pool2 = max_pool2d 2
flat = flatten
fc1 = linear 128
relu3 = relu
out = linear num_classes
"""
# name, side of the pictures
NETWORKS = [("demo", 28), ("resnet18", 64), ("resnet50", 64), ("mobilenet_v2", 64), ("unet", 64), ("deit_tiny_patch16_224", 224)]
# those that ONNX Runtime computes partly in f32: settings of the model, by how many levels results may be apart, and on average
MIXED = {"unet": ("width = 16\ndepth = 3\n", 2, 0.02), "deit_tiny_patch16_224": ("", 4, 1)}
# nodes that must not be in the file that ONNX Runtime makes of another
FLOAT = ("Conv", "Gemm", "MatMul", "Add", "Relu", "Clip", "MaxPool", "GlobalAveragePool", "AveragePool")


def run(*words):
    r = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if r.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{r.stdout}{r.stderr}")
    return r.stdout


def read_raw(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    v = json.loads(raw[8:8 + n])["output"]
    return np.frombuffer(raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]], np.float32).reshape(v["shape"])


def quantised(cvrun, name, side):
    net = DEMO if name == "demo" else f"[model]\nname = {name}\n{MIXED.get(name, ('',))[0]}"
    task = "segment" if name == "unet" else "classify"
    data = "format = scenes\nfields = mask\ntrain_size = 48\nval_size = 48" if name == "unet" else "format = fake\nsize = 48\nclasses = 10"
    open("r.ini", "w").write(f"[run]\nname = {name}\ntask = {task}\n[data]\n{data}\nimg_size = {side}\n{net}"
                             "[train]\nepochs = 1\nbatch = 16\n[optim]\nlr = 0.01\n")
    run(cvrun, "train", "r.ini")
    run(cvrun, "quantize", f"runs/{task}/{name}", "pictures=48", "batch=16")
    return f"runs/{task}/{name}-quantized"


def pictures(side, channels, n):
    """Smooth and rough, dark and light."""
    rng, out = np.random.default_rng(1), []
    os.makedirs("pictures", exist_ok=True)
    for i in range(n):
        small = rng.uniform(0, 255, (2 + 3 * i, 2 + 3 * i, channels)).astype(np.uint8)
        p = Image.fromarray(small if channels == 3 else small[..., 0]).resize((side, side), Image.BICUBIC)
        p.save(f"pictures/{i}.png")
        out.append(np.asarray(p).reshape(side, side, channels))
    return np.stack(out)


def numbers(text, channels):
    v = [np.float32(x) for x in text.strip("[]").split(",")]
    return np.float32([v[i % len(v)] for i in range(channels)])


def compare(cvrun, folder, name=""):
    run(cvrun, "export", folder, "out=int8.onnx")
    model = onnx.load("int8.onnx")
    onnx.checker.check_model(model, full_check=True)
    meta = {p.key: p.value for p in model.metadata_props}
    channels, side = (model.graph.input[0].type.tensor_type.shape.dim[i].dim_value for i in (1, 2))
    x = pictures(side, channels, 10)
    run(cvrun, "predict", folder, "source=pictures", "predict.raw=yes", "predict.out=out", "predict.save=no")
    ours = read_raw("out/raw.safetensors")
    options = ort.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 3, "seen.onnx"
    session = ort.InferenceSession("int8.onnx", options, providers=["CPUExecutionProvider"])
    ops = Counter(n.op_type for n in onnx.load("seen.onnx").graph.node)
    # as cvrun has it: x * (1 / (255 std)) - mean / std, in f32
    mean, std = numbers(meta["mean"], channels), numbers(meta["std"], channels)
    flat = ((x.astype(np.float32) / np.float32(255) - mean) / std).transpose(0, 3, 1, 2).copy()
    one = np.concatenate([session.run(None, {"images": p[None]})[0] for p in flat])
    five = np.concatenate([session.run(None, {"images": flat[i:i + 5]})[0] for i in (0, 5)])
    level = np.abs(np.diff(np.unique(ours))).min()
    off, apart = int((ours != one).sum()), float(np.abs(ours - one).max() / level)
    print(f"{os.path.basename(folder)}: {off} of {ours.size} results differ, by {apart:.2f} levels at most; "
          f"{', '.join(f'{k} {n}' for k, n in sorted(ops.items()))}")
    if name in MIXED:
        average = float(np.abs(ours - one).mean() / level)
        print(f"  {average:.4f} levels on average")
        return apart <= MIXED[name][1] + 0.01 and average <= MIXED[name][2]
    left = [k for k in FLOAT if ops[k]]
    if left:
        print(f"  in f32: {left}")
    return (one == five).all() and not left and (off == 0 or (apart <= 1.01 and not vnni()))


def vnni():
    return "vnni" in open("/proc/cpuinfo").read()


def main():
    words, folder = sys.argv[1:], None
    if "--run" in words:
        folder = os.path.abspath(words.pop(words.index("--run") + 1))
        words.remove("--run")
    cvrun, names = os.path.abspath(words[0]), words[1:]
    bad = 0
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        if folder:
            return 0 if compare(cvrun, folder) else 1
        for name, side in NETWORKS:
            if names and name not in names:
                continue
            bad += not compare(cvrun, quantised(cvrun, name, side), name)
        os.chdir("/")
    return 1 if bad else 0


sys.exit(main())
