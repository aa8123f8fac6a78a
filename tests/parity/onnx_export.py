#!/usr/bin/env python3
"""cvrun export format=onnx against ONNX Runtime, in `tests/run.sh --all` where onnx, onnxruntime, numpy and pillow are.

For each network: weights as cvrun initialises them, with scales, shifts and running statistics drawn anew so that
folding has something to fold; the file is checked by onnx.checker (full), run by ONNX Runtime at batch 1 and at batch 5,
and its results are held against `cvrun predict predict.raw=yes` of the same five pictures: within 1e-4 of the largest.
Of a detector every object is found among the other's, but for 2 in 100: random weights give many scores and overlaps
that are equal but for rounding. Exported without decoding (decode=no), the heads are decoded by onnx_heads.py, and every
object of cvrun's is among what they say.

    tests/parity/onnx_export.py build/bin/cvrun [NAME ...] [-- key=value ...]
"""
import json, os, struct, subprocess, sys, tempfile
import onnx_heads
try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from PIL import Image
except ImportError as e:
    print(f"left out: {e}; pip install numpy onnx onnxruntime pillow")
    sys.exit(77)

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
CLASSIFY, SEGMENT, DETECT = "classify", "segment", "detect"
# name, task, side of the pictures, more lines of the recipe's sections
NETWORKS = [
    ("resnet18", CLASSIFY, 64, {}), ("vgg11_bn", CLASSIFY, 64, {}), ("mobilenet_v2", CLASSIFY, 64, {}),
    ("mobilenet_v3_small", CLASSIFY, 64, {}), ("mobilenet_v3_large", CLASSIFY, 96, {}), ("efficientnet_b0", CLASSIFY, 64, {}),
    ("densenet121", CLASSIFY, 64, {}), ("inception_v3", CLASSIFY, 299, {}), ("googlenet", CLASSIFY, 96, {}),
    ("convnext_tiny", CLASSIFY, 64, {}), ("vit_b_32", CLASSIFY, 224, {}), ("deit_tiny_patch16_224", CLASSIFY, 224, {}),
    ("swin_t", CLASSIFY, 96, {}), ("resnet_cifar", CLASSIFY, 32, {}),
    ("unet", SEGMENT, 64, {}), ("unet_resnet34", SEGMENT, 64, {}), ("fcn_resnet50", SEGMENT, 64, {}),
    ("deeplabv3_mobilenet_v3_large", SEGMENT, 64, {}), ("deeplabv3plus_resnet50", SEGMENT, 65, {}),
    ("pspnet_resnet50", SEGMENT, 97, {}), ("lraspp_mobilenet_v3_large", SEGMENT, 64, {}),
    ("ssd300_vgg16", DETECT, 300, {}), ("retinanet_resnet50_fpn", DETECT, 128, {}), ("fcos_resnet50_fpn", DETECT, 128, {}), ("yolox_nano", DETECT, 128, {}),
    ("fasterrcnn_mobilenet_v3_large_320_fpn", DETECT, 128, {}), ("maskrcnn_resnet50_fpn", DETECT, 128, {}),
    ("yolov2.cfg", DETECT, 64, {}), ("yolov3.cfg", DETECT, 64, {}), ("yolov4.cfg", DETECT, 64, {}),
    ("yolov3-tiny.cfg", DETECT, 96, {}),
]
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden/darknet")


def write_tiny(path):
    """YOLOv3-tiny as Redmon and Farhadi's file has it (2018): six convolutions with pools, heads of stride 32 and 16."""
    def conv(filters, size=3, norm=1, activation="leaky"):
        return f"[convolutional]\nbatch_normalize={norm}\nfilters={filters}\nsize={size}\nstride=1\npad=1\nactivation={activation}\n"

    def pool(stride):
        return f"[maxpool]\nsize=2\nstride={stride}\n"

    def yolo(mask):
        return conv(36, 1, 0, "linear") + (f"[yolo]\nmask={mask}\nanchors=10,14, 23,27, 37,58, 81,82, 135,169, 344,319\n"
                                           "classes=7\nnum=6\n")

    text = "[net]\nwidth=96\nheight=96\nchannels=3\n"
    for filters in (16, 32, 64, 128, 256):
        text += conv(filters) + pool(2)
    text += conv(512) + pool(1) + conv(1024) + conv(256, 1) + conv(512) + yolo("3,4,5")
    text += "[route]\nlayers=-4\n" + conv(128, 1) + "[upsample]\nstride=2\n[route]\nlayers=-1,8\n" + conv(256) + yolo("0,1,2")
    open(path, "w").write(text)


def read_tensors(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    types = {"F32": np.float32, "I64": np.int64, "I32": np.int32}
    return {k: np.frombuffer(raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]], types[v["dtype"]])
            .reshape(v["shape"]) for k, v in head.items() if k != "__metadata__"}


def write_tensors(path, tensors):
    names = {np.dtype(np.float32): "F32", np.dtype(np.int64): "I64", np.dtype(np.int32): "I32"}
    head, at, data = {}, 0, b""
    for k in sorted(tensors):
        b = np.ascontiguousarray(tensors[k]).tobytes()
        head[k] = {"dtype": names[tensors[k].dtype], "shape": list(tensors[k].shape), "data_offsets": [at, at + len(b)]}
        at, data = at + len(b), data + b
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)


LAST = ("cls_logits", "bbox_reg", "bbox_ctrness", "cls_preds", "reg_preds", "obj_preds", "cls_score", "bbox_pred",
        "mask_fcn_logits", "classification_head.module_list", "regression_head.module_list")


def shake(tensors, seed, calm):
    """Norms that do something, biases and heads that are not 0. calm: residual branches that add little, or frozen norms
    let the numbers grow from block to block until every score is 0 or 1 and every edge of a mask a step."""
    rng, out = np.random.default_rng(seed), {}
    for k, v in sorted(tensors.items()):
        norm = v.ndim == 1 and v.dtype == np.float32
        if v.ndim > 1 and any(w in k for w in LAST):  # scores that differ, or the order of detections is chance
            where = any(w in k for w in ("reg", "bbox"))
            v = rng.normal(0, (0.3 if where else 2) / np.sqrt(v[0].size), v.shape).astype(np.float32)
        if k.endswith("running_mean"):
            v = v + rng.normal(0, 0.1, v.shape).astype(np.float32)
        elif k.endswith("running_var"):
            v = v * rng.uniform(0.5, 1.5, v.shape).astype(np.float32)
        elif norm and k.endswith("weight"):
            v = v * rng.uniform(0.7, 1.3, v.shape).astype(np.float32)
        elif norm:
            v = v + rng.normal(0, 0.05, v.shape).astype(np.float32)
        elif v.dtype == np.float32 and not v.any():
            v = rng.normal(0, 0.02, v.shape).astype(np.float32)
        out[k] = v * np.float32(0.2) if calm and k.endswith("bn3.weight") else v
    return out


def cvrun(program, *words):
    p = subprocess.run([program, *words], capture_output=True, text=True)
    if p.returncode:
        sys.exit(f"{' '.join(words)}: {p.stderr}")
    return p.stdout


def pictures(folder, side):
    """Noise, so that no two places of a map are alike, over some colours."""
    rng = np.random.default_rng(3)
    os.makedirs(folder, exist_ok=True)
    all_ = []
    for i in range(5):
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        p = np.asarray(Image.fromarray(coarse).resize((side, side), Image.BICUBIC)) // 2
        p = p + rng.integers(0, 128, p.shape, dtype=np.uint8)
        Image.fromarray(p).save(f"{folder}/{i}.png")
        all_.append(p)
    return np.stack(all_)


def run(session, x):
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: x})))


def hold(what, ours, theirs, worst):
    if ours.shape != theirs.shape:
        return f"{what}: shape {ours.shape}, not {theirs.shape}"
    if ours.size and not np.isfinite(theirs).all():
        return f"{what}: not finite"
    off = float(np.abs(ours.astype(np.float64) - theirs).max() / max(float(np.abs(ours).max()), 1e-6)) if ours.size else 0
    worst.append(off)
    return "" if off <= 1e-4 else f"{what}: {off:.2e} of the largest"


def hold_detections(what, ours, theirs, worst):
    """Rows of one picture are found among the other's by class, score and box, whatever their order: scores that are
    equal but for rounding, and boxes whose IoU is the threshold but for rounding, may fall otherwise."""
    missing = rows = apart = 0
    side = max(float(np.abs(ours["boxes"]).max()), 1)
    for n in range(len(ours["labels"])):
        free = set(np.flatnonzero(theirs["labels"][n] >= 0))
        for i in np.flatnonzero(ours["labels"][n] >= 0):
            rows += 1
            off = {j: max(abs(float(ours["scores"][n][i] - theirs["scores"][n][j])),
                          float(np.abs(ours["boxes"][n][i] - theirs["boxes"][n][j]).max()) / side)
                   for j in free if theirs["labels"][n][j] == ours["labels"][n][i]}
            best = min(off, key=off.get, default=None)
            if best is None or off[best] > 1e-4:
                missing += 1
                continue
            free.discard(best)
            worst.append(off[best])
            if "masks" in ours:
                masks = float(np.abs(ours["masks"][n][i] - theirs["masks"][n][best]).max())
                worst.append(masks)
                apart += masks > 1e-3
        missing += len(free)
    print(f"    {what}: {rows} objects, {missing} without a counterpart"
          + (f"; {apart} masks differ by more than 1e-3" if "masks" in ours else ""))
    if apart:
        return f"{what}: {apart} masks differ"
    return "" if rows and missing <= 0.02 * rows else f"{what}: {missing} of {rows} objects have no counterpart"


def open_file(path):
    onnx.checker.check_model(path, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def try_heads(program, folder, name, cfg, words, x, ours, side, worst):
    path = f"{folder}/{name}-heads.onnx"
    cvrun(program, "export", *words, "decode=no", f"out={path}")
    session = open_file(path)
    fixed = session.get_inputs()[0].shape[0]
    problems = []
    for n in [fixed] if isinstance(fixed, int) else [1, 5]:
        first = {k: v[:n] for k, v in ours.items()}
        problems.append(onnx_heads.hold(first, run(session, x[:n]), name, cfg, side, worst))
    os.remove(path)
    return problems


def try_network(program, folder, name, task, side, lines, settings):
    recipe, images, cfg = f"{folder}/{name}.ini", f"{folder}/{side}", ""
    pixels = pictures(images, side)
    size = f"img_size = {side}\n"
    model = name
    if name.endswith(".cfg"):
        model = cfg = f"{folder}/{name}" if name == "yolov3-tiny.cfg" else f"{GOLDEN}/{name}"
        if name == "yolov3-tiny.cfg":
            write_tiny(cfg)
    val = f"[val]\nresize_size = 0\ncrop_size = {side}\n" if task == CLASSIFY else ""
    if task == SEGMENT:
        val = f"[val]\nresize_size = 0\ncrop_size = {side}\nprotocol = crop\n"
    low = "" if task != DETECT else "box_score_thresh = 0.00001\n" if "rcnn" in name else "score_thresh = 0.00001\n"
    with open(recipe, "w") as f:
        f.write(f"[run]\ntask = {task}\n[model]\nname = {model}\nnum_classes = 7\n{low}[data]\nmean = imagenet\nstd = imagenet\n{size}{val}")
        for section, text in lines.items():
            f.write(f"[{section}]\n{text}\n")
    plain, shaken = f"{folder}/plain.safetensors", f"{folder}/{name}.safetensors"
    cvrun(program, "export", recipe, "format=safetensors", f"out={plain}")
    write_tensors(shaken, shake(read_tensors(plain), 1, "rcnn" in name))
    weights = f"weights={shaken}"
    path = f"{folder}/{name}.onnx"
    cvrun(program, "export", recipe, weights, f"out={path}", *settings)
    out = f"{folder}/{name}-said"
    cvrun(program, "predict", recipe, weights, f"source={images}", f"predict.out={out}", "predict.raw=yes", "predict.save=no")
    ours = read_tensors(f"{out}/raw.safetensors")
    model = onnx.load(path, load_external_data=False)
    session = open_file(path)
    x = pixels if session.get_inputs()[0].type == "tensor(uint8)" else \
        np.ascontiguousarray(((pixels.astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2))
    fixed = session.get_inputs()[0].shape[0]
    sizes = [fixed] if isinstance(fixed, int) else [1, 5]
    problems, worst = [], []
    for n in sizes:
        said = run(session, x[:n])
        if task == DETECT:
            problems.append(hold_detections(f"batch {n}", {k: v[:n] for k, v in ours.items()}, said, worst))
            continue
        for k in ours:
            if k not in said:
                problems.append(f"no output {k}")
                continue
            problems.append(hold(f"{k} at batch {n}", ours[k][:n], said[k], worst))
    if task == DETECT:
        problems += try_heads(program, folder, name, cfg, [recipe, weights, *settings], x, ours, side, worst)
    problems = [p for p in problems if p]
    ops = {}
    for node in model.graph.node:
        ops[node.op_type] = ops.get(node.op_type, 0) + 1
    print(f"{name:32} {'BAD ' if problems else 'ok  '} worst {max(worst, default=0):.1e}  "
          f"{os.path.getsize(path) / 1e6:6.1f} MB  {len(model.graph.node):4} nodes  "
          + " ".join(f"{k}:{v}" for k, v in sorted(ops.items())), flush=True)
    for p in problems:
        print("   ", p)
    for f in (plain, shaken, path):
        os.remove(f)
    return not problems


def main():
    words = sys.argv[1:]
    settings = words[words.index("--") + 1:] if "--" in words else []
    words = words[:words.index("--")] if "--" in words else words
    program, names = os.path.abspath(words[0]), words[1:]
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for name, task, side, lines in NETWORKS:
            if not names or name in names:
                try:
                    good = try_network(program, folder, name, task, side, lines, settings) and good
                except (Exception, SystemExit) as e:
                    print(f"{name:32} BAD  {str(e)[:600]}", flush=True)
                    good = False
    sys.exit(not good)


if __name__ == "__main__":
    main()
