#!/usr/bin/env python3
"""Accuracy against measured time of one network, compressed in every way, as a picture and a table.

ResNet-8 (CIFAR) with 16 channels on Fashion-MNIST (Debian package dataset-fashion-mnist): trained, pruned to three
widths and trained further on a third of the pictures, each of these with 8-bit integers, and the narrowest taught by
the network itself. Times are of 32 pictures, in turns, the least median of each. What is there is not made again;
FOLDER/torch.json, which prune_against_torch.py writes, adds PyTorch's point.

    tests/bench/compress_picture.py build/bin/cvrun FOLDER [SVG] [turns=3] [again] [key=value of training ...]

`again` takes the times anew, such as where the machine has less else to do.
"""
import json
import math
import os
import pathlib
import subprocess
import sys

RECIPE = """[run]
name = net
seed = 1
[data]
format = idx
root = /usr/share/datasets/fashion-mnist
mean = 0.286
std = 0.353
[model]
name = resnet_cifar
depth = 8
width = 16
[augment]
random_horizontal_flip = p=0.5
random_crop = 28 padding=2
[train]
epochs = 4
batch = 128
[val]
interval = 100
[optim]
name = sgd
lr = 0.1
momentum = 0.9
nesterov = yes
weight_decay = 5e-4
[sched]
name = cosine
warmup_epochs = 0.5
"""
SHARES = ["0.7", "0.5", "0.3"]
FURTHER = "data.limit=20000"  # of training after the first; validation has 10,000 pictures


class Work:
    """The runs of the folder by name, each made once; compress.json and summary.json say what they are worth."""

    def __init__(self, cvrun, folder, settings):
        self.cvrun, self.folder, self.settings = cvrun, folder, settings
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "points.json"
        self.points = json.loads(self.file.read_text()) if self.file.exists() else {}

    def call(self, *words):
        r = subprocess.run([self.cvrun, *words], cwd=self.folder, capture_output=True, text=True)
        if r.returncode:
            sys.exit(f"cvrun {' '.join(words)}\n{r.stdout[-2000:]}{r.stderr[-2000:]}")
        return r.stdout

    def keep(self):
        self.file.write_text(json.dumps(self.points, indent=1) + "\n")

    def make(self, name, kind, of, *words):
        if name not in self.points:
            print("==", name, flush=True)
            run = self.call(*words).strip().splitlines()[-1].replace("run folder: ", "")
            self.points[name] = {"run": run, "kind": kind, "of": of, "top1": self.top1(run)}
            self.keep()
        return self.points[name]["run"]

    def top1(self, run):
        made = pathlib.Path(run) / "compress.json"
        if made.exists():
            c = json.loads(made.read_text())
            return c["after"]["metrics"]["top1"]
        return json.loads(self.call("val", run, "--json"))["top1"]


def make_all(w):
    (w.folder / "net.ini").write_text(RECIPE)
    net = w.make("float", "float", None, "train", "net.ini", *w.settings)
    w.make("float, int8", "int8", "float", "quantize", net)
    for share in SHARES:
        name = f"{share} of the MACs"
        run = w.make(name, "pruned", "float", "prune", net, f"target=macs:{share}", "scope=all", "round_to=4", "epochs=2", FURTHER)
        w.make(name + ", int8", "int8", name, "quantize", run)
    narrow = w.points[f"{SHARES[-1]} of the MACs"]["run"]
    taught = w.make("taught", "taught", f"{SHARES[-1]} of the MACs", "distill", narrow, f"teacher={net}", "epochs=2", "lr=0.02", FURTHER)
    w.make("taught, int8", "int8", "taught", "quantize", taught)


def measure_all(w, turns, again):
    if not again and all("ms" in p for p in w.points.values()):
        return
    best = {}
    for turn in range(turns):
        for name, p in w.points.items():
            b = json.loads(w.call("bench", p["run"], "--inference", "--json", "train.batch=32"))
            best[name] = min(best.get(name, math.inf), 1000 * b["step_seconds"])
    for name, p in w.points.items():
        c = pathlib.Path(p["run"]) / "compress.json"
        side = json.loads(c.read_text()) if c.exists() else {}
        p["ms"], p["macs"] = best[name], side.get("after", {}).get("macs")
        if side.get("untrained"):
            p["untrained"] = side["untrained"]["metrics"]["top1"]
    w.points["float"]["macs"] = json.loads((pathlib.Path(w.points["0.5 of the MACs"]["run"]) / "compress.json").read_text())["before"]["macs"]
    w.keep()


# ---- the picture ----
LOOKS = {"float": ("#222", "square"), "pruned": ("#1f77b4", "circle"), "int8": ("#d62728", "triangle"), "taught": ("#2ca02c", "diamond"),
         "torch": ("#9467bd", "cross")}
WORDS = {"float": "as trained, f32", "pruned": "pruned and trained further", "int8": "the same with 8-bit integers",
         "taught": "the narrowest, under the network itself", "torch": "as trained, f32, in PyTorch"}


def mark(kind, x, y):
    colour, shape = LOOKS[kind]
    fill = f'fill="{colour}"'
    if shape == "square":
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" {fill}/>'
    if shape == "triangle":
        return f'<path d="M{x:.1f} {y - 6:.1f}l6 11h-12z" {fill}/>'
    if shape == "diamond":
        return f'<path d="M{x:.1f} {y - 7:.1f}l6 7l-6 7l-6-7z" {fill}/>'
    if shape == "cross":
        return f'<path d="M{x - 5:.1f} {y - 5:.1f}l10 10m0-10l-10 10" stroke="{colour}" stroke-width="2.5" fill="none"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" {fill}/>'


def rows(w):
    """(kind, name, ms, top1) of every mark: of networks whose training is over."""
    out = [(p["kind"], name, p["ms"], p["top1"]) for name, p in w.points.items()]
    theirs = w.folder / "torch.json"
    if theirs.exists():
        p = json.loads(theirs.read_text())["float"]
        out.append(("torch", "float", p["ms"], p["top1"]))
    return out


def draw(all_rows, title):
    W, H, left, right, top, bottom = 1000, 470, 64, 310, 40, 56
    xs, ys = [r[2] for r in all_rows], [100 * r[3] for r in all_rows]
    low, high = math.log(min(xs) / 1.15), math.log(max(xs) * 1.25)
    floor, roof = math.floor(2 * min(ys) - 0.6) / 2, math.ceil(2 * max(ys) + 0.6) / 2
    X = lambda ms: left + (math.log(ms) - low) / (high - low) * (W - left - right)
    Y = lambda v: top + (roof - v) / (roof - floor) * (H - top - bottom)
    s = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {W} {H}" width="{W}" height="{H}" font-family="sans-serif" font-size="13">',
         f'<rect width="{W}" height="{H}" fill="#fff"/>', f'<text x="{left}" y="24" font-size="15">{title}</text>']
    step = next(k for k in (0.5, 1, 2, 5, 10, 20) if (roof - floor) / k <= 9)
    v = math.ceil(floor / step) * step
    while v <= roof:
        s.append(f'<path d="M{left} {Y(v):.1f}H{W - right}" stroke="#ddd"/><text x="{left - 8}" y="{Y(v) + 4:.1f}" text-anchor="end">{v:g}</text>')
        v += step
    for ms in (0.1, 0.2, 0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500):
        if low <= math.log(ms) <= high:
            s.append(f'<path d="M{X(ms):.1f} {top}V{H - bottom}" stroke="#eee"/><text x="{X(ms):.1f}" y="{H - bottom + 18}" text-anchor="middle">{ms:g}</text>')
    s.append(f'<path d="M{left} {top}V{H - bottom}H{W - right}" stroke="#222" fill="none"/>')
    s.append(f'<text x="{(left + W - right) / 2}" y="{H - 12}" text-anchor="middle">ms for 32 pictures, two threads (logarithmic)</text>')
    s.append(f'<text transform="translate(18 {(top + H - bottom) / 2}) rotate(-90)" text-anchor="middle">top-1, %, of 10,000 pictures</text>')
    for kind, name, ms, top1 in all_rows:
        s.append(mark(kind, X(ms), Y(100 * top1)))
        if kind in ("float", "pruned", "taught"):
            short = {"float": "float", "taught": "taught"}.get(kind, name.split()[0])
            above = kind != "pruned"
            s.append(f'<text x="{X(ms):.1f}" y="{Y(100 * top1) + (-11 if above else 20):.1f}" text-anchor="middle" font-size="12" fill="{LOOKS[kind][0]}">{short}</text>')
    there = [k for k in WORDS if any(r[0] == k for r in all_rows)]
    for i, kind in enumerate(there):
        y = top + 14 + 22 * i
        s.append(mark(kind, W - right + 20, y) + f'<text x="{W - right + 34}" y="{y + 4:.1f}">{WORDS[kind]}</text>')
    return "\n".join(s) + "\n</svg>\n"


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    words = sys.argv[3:]
    again, turns = "again" in words, int(next((v[6:] for v in words if v.startswith("turns=")), 3))
    words = [v for v in words if v != "again" and not v.startswith("turns=")]
    svg = words.pop(0) if words and "=" not in words[0] else None
    w = Work(os.path.realpath(sys.argv[1]), pathlib.Path(sys.argv[2]), words)
    make_all(w)
    measure_all(w, turns, again)
    print(f"{'':28} {'MMACs':>8} {'ms, 32':>8} {'top-1':>8} {'untrained':>10}")
    for name, p in w.points.items():
        macs = f"{p['macs'] / 1e6:8.2f}" if p["macs"] else " " * 8
        print(f"{name:28} {macs} {p['ms']:8.2f} {p['top1']:8.4f} {p.get('untrained', float('nan')):10.4f}".replace("nan", "   "))
    if svg:
        pathlib.Path(svg).write_text(draw(rows(w), "ResNet-8, 16 channels, on Fashion-MNIST: accuracy against time"))


main()
