"""Darknet's networks against Debian's `darknet` program (apt-get install darknet), which knows versions 2 and 3.

  darknet.py             makes tests/golden/darknet/NAME.weights (random) and .txt: what `darknet` detects or says
                         with them in pictures that are numbers of a formula (picture() below)

The .cfg files there are written by hand. darknet v4, mish, groups and new_coords: darknet_torch.py.
"""

import os
import shutil
import struct
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "darknet")
NAMES = ["one", "two", "three"]


def read_cfg(path):
    """[(section, {key: value})]"""
    sections = []
    for line in open(path):
        line = "".join(line.split())
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            sections.append((line[1:-1], {}))
        else:
            key, value = line.split("=", 1)
            sections[-1][1][key] = value
    return sections


def picture(number, side, width=0):
    """(side, width or side, 3) u8; the C test has the same: pixel i of the interleaved bytes is a hash's highest byte, and
    every 8 x 8 pixels are one."""
    y, x, c = np.meshgrid(np.arange(side) // 8, np.arange(width or side) // 8, np.arange(3), indexing="ij")
    n = ((number * 64 + y) * 64 + x) * 3 + c + 1
    n = (n * 2654435761) % 2**32
    n = n ^ (n >> 15)
    n = (n * 2246822519) % 2**32
    return (n >> 24).astype(np.uint8)


def write_weights(path, cfg, seed):
    """Random numbers of such sizes that activations stay alive; heads are cautious."""
    r = np.random.default_rng(seed)
    sections = read_cfg(cfg)
    channels = [int(sections[0][1]["channels"])]
    out = [struct.pack("<iiiQ", 0, 2, 0, 0)]

    def put(x):
        out.append(np.asarray(x, dtype="<f4").tobytes())

    layers = sections[1:]
    for i, (kind, o) in enumerate(layers):
        c = channels[-1]
        if kind == "convolutional":
            n, size, groups = int(o["filters"]), int(o["size"]), int(o.get("groups", 1))
            head = i + 1 < len(layers) and layers[i + 1][0] in ("yolo", "region")
            bias = r.normal(0, 0.3, n)
            if head:
                each = 5 + int(layers[i + 1][1]["classes"])
                bias[4::each] -= 1
            put(bias)
            if o.get("batch_normalize") == "1":
                put(r.uniform(0.7, 1.3, n))
                put(r.normal(0, 0.2, n))
                put(r.uniform(0.5, 1.5, n))
            fan_in = c // groups * size * size
            put(r.normal(0, ((0.8 if layers[i + 1][0] == "region" else 0.35) if head else 1) * np.sqrt(2 / fan_in), n * fan_in))
            c = n
        elif kind == "route":
            parts = [int(k) for k in o["layers"].split(",")]
            c = sum(channels[1:][k if k >= 0 else i + k] for k in parts) // int(o.get("groups", 1))
        elif kind == "reorg":
            c *= int(o["stride"]) ** 2
        channels.append(c)
    open(path, "wb").write(b"".join(out))


def darknet(folder, *arguments):
    done = subprocess.run(["darknet", *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode:
        sys.exit(f"darknet {arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def found(name, pictures):
    """What `darknet detector valid` finds in pictures: (picture, -score, class, box), the best first."""
    cfg, weights = os.path.join(HERE, name + ".cfg"), os.path.join(HERE, name + ".weights")
    lines = []
    with tempfile.TemporaryDirectory() as d:
        os.mkdir(os.path.join(d, "results"))
        for i, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(os.path.join(d, f"p{i}.png"))
        open(os.path.join(d, "list"), "w").write("".join(f"{d}/p{i}.png\n" for i in range(len(pictures))))
        open(os.path.join(d, "names"), "w").write("\n".join(NAMES) + "\n")
        open(os.path.join(d, "data"), "w").write(f"classes=3\ntrain={d}/list\nvalid={d}/list\nnames={d}/names\nresults={d}/results\n")
        darknet(d, "detector", "valid", "data", cfg, weights)
        for k, klass in enumerate(NAMES):
            for line in open(os.path.join(d, "results", f"comp4_det_test_{klass}.txt")):
                p, *numbers = line.split()
                # pixels are counted from 1 there
                score, *box = map(float, numbers)
                lines.append((int(p[1:]), -score, k, [v - 1 for v in box]))
    return sorted(lines)


def detect(name, seed):
    """NAME.txt: lines `picture class score x1 y1 x2 y2`, the best of two pictures."""
    write_weights(os.path.join(HERE, name + ".weights"), os.path.join(HERE, name + ".cfg"), seed)
    lines = found(name, [picture(i, 64) for i in range(4)])
    with open(os.path.join(HERE, name + ".txt"), "w") as f:
        told = [0, 0, 0, 0]
        for p, score, k, box in lines:
            told[p] += 1
            if p < 2 and told[p] <= 80:
                f.write(f"{p} {k} {-score:.6f} " + " ".join(f"{v:.3f}" for v in box) + "\n")
    print(name, len(lines), "detections in 4 pictures")


# Heights and widths of pictures that are no squares.
SHAPES = [(300, 400), (100, 72), (51, 97), (60, 90)]  # darknet wants four


def letterbox(name):
    """letterbox.txt: the same, the best 60 of pictures that Darknet brings into the network's square."""
    lines = found(name, [picture(i, h, w) for i, (h, w) in enumerate(SHAPES)])
    with open(os.path.join(HERE, "letterbox.txt"), "w") as f:
        for p in range(len(SHAPES)):
            for _, score, k, box in [line for line in lines if line[0] == p][:60]:
                f.write(f"{p} {k} {-score:.6f} " + " ".join(f"{v:.3f}" for v in box) + "\n")


# class, centre, width and height as shares of the picture. The first two have one cell and one anchor; the last is too
# small to count.
OBJECTS = [(0, 0.30, 0.40, 0.12, 0.20), (2, 0.31, 0.41, 0.13, 0.22), (1, 0.70, 0.65, 0.40, 0.35), (1, 0.2, 0.8, 0.1, 0.12),
           (2, 0.55, 0.35, 0.5, 0.6), (0, 0.9, 0.9, 0.0005, 0.1)]


def train(name, seed):
    """NAME.after.weights: after one step of `darknet detector train` on picture 0 with OBJECTS. A random number that is
    always the same, and even, leaves the picture as it is."""
    cfg, weights = os.path.join(HERE, name + ".cfg"), os.path.join(HERE, name + ".weights")
    write_weights(weights, cfg, seed)
    with tempfile.TemporaryDirectory() as d:
        for folder in ("images", "labels", "backup"):
            os.mkdir(os.path.join(d, folder))
        Image.fromarray(picture(0, 64)).save(os.path.join(d, "images", "p.png"))
        open(os.path.join(d, "labels", "p.txt"), "w").write("".join(f"{k} {x} {y} {w} {h}\n" for k, x, y, w, h in OBJECTS))
        open(os.path.join(d, "list"), "w").write(f"{d}/images/p.png\n")
        open(os.path.join(d, "names"), "w").write("\n".join(NAMES) + "\n")
        open(os.path.join(d, "data"), "w").write(f"classes=3\ntrain={d}/list\nvalid={d}/list\nnames={d}/names\nbackup={d}/backup\n")
        open(os.path.join(d, "rand.c"), "w").write("int rand(void) { return 1 << 30; }\n")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", "rand.so", "rand.c"], cwd=d, check=True)
        env = {**os.environ, "LD_PRELOAD": os.path.join(d, "rand.so")}
        said = subprocess.run(["darknet", "detector", "train", "data", cfg, weights, "-clear"], cwd=d, capture_output=True,
                              text=True, timeout=300, env=env)
        made = os.path.join(d, "backup", name + "_final.weights")
        if not os.path.exists(made):
            sys.exit(f"darknet detector train: {said.stdout[-2000:]}{said.stderr[-2000:]}")
        print("\n".join(line for line in said.stdout.splitlines() if "Region" in line or "images" in line))
        shutil.copy(made, os.path.join(HERE, name + ".after.weights"))
        before, after = (np.frombuffer(open(p, "rb").read()[20:], "<f4") for p in (weights, made))
        print(name, "largest change", np.abs(after - before).max(), "of", len(before))


def classify(name, seed):
    """What `darknet classifier predict` says: a line `picture p0 p1 p2`."""
    cfg, weights = os.path.join(HERE, name + ".cfg"), os.path.join(HERE, name + ".weights")
    write_weights(weights, cfg, seed)
    with tempfile.TemporaryDirectory() as d, open(os.path.join(HERE, name + ".txt"), "w") as f:
        open(os.path.join(d, "names"), "w").write("\n".join(NAMES) + "\n")
        open(os.path.join(d, "data"), "w").write(f"classes=3\nlabels={d}/names\nnames={d}/names\ntop=3\n")
        for i in range(2):
            Image.fromarray(picture(i, 32)).save(os.path.join(d, "p.png"))
            said = {}
            for line in darknet(d, "classifier", "predict", "data", cfg, weights, os.path.join(d, "p.png")).splitlines():
                if "%: " in line:
                    share, klass = line.split("%: ")
                    said[klass.strip()] = float(share) / 100
            f.write(f"{i} " + " ".join(f"{said[k]:.4f}" for k in NAMES) + "\n")
            print(name, said)


if __name__ == "__main__":
    if not shutil.which("darknet"):
        sys.exit("there is no program `darknet`; install Debian's package")
    detect("yolov3", 3)
    detect("yolov2", 2)
    letterbox("yolov3")
    classify("classifier", 1)
    train("trained", 4)
