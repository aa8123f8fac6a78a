"""Golden values for the metrics of the task "multilabel": scikit-learn's, of made-up scores with many ties.

    multilabel.py [OUT]             writes tests/golden/multilabel.txt
    multilabel.py --loss CVRUN      holds the loss of a training step against timm's BinaryCrossEntropy

The file: pictures and classes; a row a picture of logits, then its labels; a row a class of average precision (nan without
positives) and F1; then the mean of the average precisions that there are, micro F1 and macro F1, at a logit of 0.
"""
import csv
import pathlib
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib

import numpy as np

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden" / "multilabel.txt"


def write(path):
    from sklearn.metrics import average_precision_score, f1_score
    warnings.filterwarnings("ignore")
    rng = np.random.default_rng(19)
    n, k = 23, 6
    logits = np.round(rng.normal(size=(n, k)) * 3) / 2  # halves: ties, and logits of exactly 0
    truth = (rng.random((n, k)) < [0.5, 0.2, 0.8, 0.1, 0, 0.4]).astype(int)  # class 4 has no picture
    truth[:, 5] = logits[:, 5] > 0  # a perfect class
    logits[:, 4] = -1  # which is never predicted either
    said = (logits >= 0).astype(int)
    ap = [average_precision_score(truth[:, i], logits[:, i]) if truth[:, i].any() else float("nan") for i in range(k)]
    f1 = f1_score(truth, said, average=None)
    with open(path, "w") as out:
        print(n, k, file=out)
        for x, y in zip(logits, truth):
            print(*x, *y, file=out)
        for pair in zip(ap, f1):
            print(*("%.17g" % v for v in pair), file=out)
        print(*("%.17g" % v for v in (np.nanmean(ap), f1_score(truth, said, average="micro"),
                                      f1_score(truth, said, average="macro"))), file=out)


RECIPE = """[run]
seed = 3
task = multilabel
[data]
format = csv
root = pics
label_separator = |
workers = 0
shuffle = no
[net]
f = flatten
fc = linear num_classes
[train]
epochs = 1
batch = 4
[optim]
name = sgd
lr = 0
[val]
interval = 1
"""


def png(path, rgb):
    row = b"\0" + bytes(rgb) * 4
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)) +
                     chunk(b"IDAT", zlib.compress(row * 4)) + chunk(b"IEND", b""))


def loss(cvrun):
    import torch
    from safetensors.torch import load_file
    from timm.loss import BinaryCrossEntropy
    names, rows = ["blue", "green", "red"], [(255, 0, 0), (255, 255, 0), (0, 0, 0), (30, 200, 90)]
    labels = [["red"], ["green", "red"], [], ["blue", "green"]]
    single = ["red", "green", "blue", "green"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "pics").mkdir()
        for i, rgb in enumerate(rows):
            png(folder / "pics" / f"{i}.png", rgb)
        for kind, cells in (("several", ["|".join(x) for x in labels]), ("one", single)):
            text = "file,label\n" + "".join(f"{i}.png,{c}\n" for i, c in enumerate(cells))
            (folder / f"{kind}.csv").write_text(text)
        (folder / "r.ini").write_text(RECIPE)
        several = torch.tensor([[float(n in x) for n in names] for x in labels])
        one = torch.tensor([names.index(x) for x in single])
        w = [0.5, 3.0, 2.0]
        cases = [("several", several, {}, []),
                 ("several", several, {"smoothing": 0.2, "smooth_dense": True}, ["train.label_smoothing=0.2"]),
                 ("several", several, {"pos_weight": w}, ["train.pos_weight=0.5,3,2"]),
                 ("several", several, {"pos_weight": 4.0}, ["train.pos_weight=4"]),
                 ("one", one, {}, ["data.label_separator="]),
                 ("one", one, {"smoothing": 0.1, "pos_weight": w},
                  ["data.label_separator=", "train.label_smoothing=0.1", "train.smooth_dense=no", "train.pos_weight=0.5,3,2"])]
        for i, (kind, target, timm, keys) in enumerate(cases):
            run = [cvrun, "train", "r.ini", f"name=c{i}", f"data.train={kind}.csv", f"data.val={kind}.csv", *keys]
            subprocess.run(run, cwd=folder, check=True, capture_output=True)
            at = folder / "runs/multilabel" / f"c{i}"
            subprocess.run([cvrun, "predict", at, "source=pics", f"predict.out=p{i}", "predict.raw=yes"], cwd=folder, check=True,
                           capture_output=True)
            x = load_file(folder / f"p{i}" / "raw.safetensors")["output"]
            want = BinaryCrossEntropy(**{"smoothing": 0, **timm})(x, target).item()
            with open(at / "steps.csv") as f:
                have = float(next(csv.DictReader(f))["loss"])
            print(f"{kind} {' '.join(keys)}: cvrun {have:.7f}, timm {want:.7f}")
            assert abs(have - want) < 2e-6, "they differ"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--loss"]:
        loss(str(pathlib.Path(sys.argv[2]).resolve()))
    else:
        write(sys.argv[1] if len(sys.argv) > 1 else GOLDEN)
