"""Loss curves of cvrun and PyTorch, step by step, from the same weights and the same batches.

usage: loss_curves.py CVRUN [--write]

For the demo's network and the article's: cvrun makes the initial weights (seed 0) and trains 50 steps on unshuffled, unaugmented
batches; PyTorch loads those weights, sees the same pictures and does the same steps. The largest relative difference is printed and
must stay below 1e-4. Learning rates are small enough for rounding not to be blown up from step to step: at the recipes' own rates
PyTorch leaves itself as fast (it is also run without oneDNN, that is, with its sums in another order, and that difference is printed).
--write stores PyTorch's losses as golden files, which tests/cli/curve_test.sh compares cvrun with.
Needs torch, torchvision, numpy and safetensors, and Debian's dataset-fashion-mnist.
"""
import csv, gzip, pathlib, subprocess, sys, tempfile
import numpy as np, torch
from safetensors.torch import load_file
from torchvision.transforms.v2 import functional as F

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path("/usr/share/datasets/fashion-mnist")
STEPS = 50


class Demo(torch.nn.Module):
    def __init__(self):
        super().__init__()
        nn = torch.nn
        for i, (c_in, c_out) in enumerate([(1, 32), (32, 64)], 1):
            setattr(self, f"conv{i}", nn.Conv2d(c_in, c_out, 3, padding=1, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(c_out))
        self.fc1 = nn.Linear(64 * 7 * 7, 128)
        self.out = nn.Linear(128, 10)

    def forward(self, x):
        pool = torch.nn.functional.max_pool2d
        x = pool(torch.relu(self.bn1(self.conv1(x))), 2)
        x = pool(torch.relu(self.bn2(self.conv2(x))), 2)
        return self.out(torch.relu(self.fc1(x.flatten(1))))


class Article(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 64, 3, padding=1)
        self.fc = torch.nn.Linear(64 * 112 * 112, 10)

    def forward(self, x):
        x = torch.nn.functional.max_pool2d(torch.relu(self.conv(x)), 2)
        return self.fc(x.flatten(1))


CASES = {
    "demo": dict(
        net=Demo, recipe="fashion-mnist.ini", batch=128, size=28, channels=1, mean=0.286, std=0.353, smoothing=0.05,
        settings=["optim.lr=0.002", "sched.name=constant", "sched.warmup_epochs=0"],
        optim=lambda p: torch.optim.SGD(p, lr=0.002, momentum=0.9, nesterov=True, weight_decay=5e-4)),
    "article": dict(
        net=Article, recipe="article.ini", batch=32, size=224, channels=3, mean=0.0, std=1.0, smoothing=0.0,
        settings=["optim.lr=0.00005"], optim=lambda p: torch.optim.Adam(p, lr=0.00005)),
}


def pictures(n, size, channels):
    raw = np.frombuffer(gzip.open(DATA / "train-images-idx3-ubyte.gz").read(), np.uint8, offset=16)[: n * 784]
    labels = np.frombuffer(gzip.open(DATA / "train-labels-idx1-ubyte.gz").read(), np.uint8, offset=8)[:n]
    x = torch.from_numpy(raw.reshape(n, 1, 28, 28).copy()).expand(n, channels, 28, 28)
    if size != 28:
        x = F.resize(x, [size], antialias=True)
    return x, torch.from_numpy(labels.astype(np.int64))


def plain_recipe(path, out):
    """The recipe without its augmentation and dropout."""
    keep, skip = [], False
    for line in path.read_text().splitlines():
        if line.startswith("["):
            skip = line.strip() == "[augment]"
        if not skip and "= dropout" not in line:
            keep.append(line)
    out.write_text("\n".join(keep) + "\n")


def ours(cvrun, case, folder):
    """cvrun's initial weights and losses. data.limit takes pictures evenly; a limit of all with few steps would take long, so the
    pictures are cut by copying the first ones into IDX files of their own."""
    n = STEPS * case["batch"]
    for name, head, item in (("train-images-idx3-ubyte", 16, 784), ("train-labels-idx1-ubyte", 8, 1)):
        raw = gzip.open(DATA / f"{name}.gz").read()
        (folder / name).write_bytes(raw[:4] + n.to_bytes(4, "big") + raw[8:head] + raw[head : head + n * item])
    plain_recipe(ROOT / "apps/recipes" / case["recipe"], folder / "recipe.ini")
    common = [cvrun, "train", str(folder / "recipe.ini"), f"data.root={folder}", f"run.project={folder}", "data.shuffle=no", "val.interval=0",
              f"train.batch={case['batch']}", *case["settings"]]
    subprocess.run([*common, "name=start", "epochs=0"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*common, "name=run", "epochs=1"], check=True, stdout=subprocess.DEVNULL)
    losses = [float(row["loss"]) for row in csv.DictReader(open(folder / "classify/run/steps.csv"))]
    return load_file(folder / "classify/start/weights/last.safetensors"), losses


def theirs(case, weights):
    net = case["net"]()
    net.load_state_dict(weights, strict=True)
    optim = case["optim"](net.parameters())
    x, y = pictures(STEPS * case["batch"], case["size"], case["channels"])
    losses = []
    for i in range(STEPS):
        part = slice(i * case["batch"], (i + 1) * case["batch"])
        batch = (x[part].float() / 255 - case["mean"]) / case["std"]
        optim.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(batch), y[part], label_smoothing=case["smoothing"])
        loss.backward()
        optim.step()
        losses.append(loss.item())
    return losses


def main():
    cvrun, bad = sys.argv[1], False
    torch.set_num_threads(2)
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            weights, a = ours(cvrun, case, pathlib.Path(folder))
        b = theirs(case, weights)
        with torch.backends.mkldnn.flags(enabled=False):
            c = theirs(case, weights)
        if "-v" in sys.argv:
            for i, (p, q) in enumerate(zip(a, b)):
                print(i + 1, p, q, f"{abs(p - q) / q:.1e}")
        worst = max(abs(p - q) / abs(q) for p, q in zip(a, b))
        itself = max(abs(p - q) / abs(q) for p, q in zip(c, b))
        print(f"{name}: {len(a)} steps, loss {b[0]:.4f} -> {b[-1]:.4f}, largest relative difference {worst:.2e}; PyTorch from itself {itself:.2e}")
        bad |= len(a) != STEPS or worst > 1e-4
        if "--write" in sys.argv:
            (ROOT / f"tests/golden/curve_{name}.csv").write_text("step,loss\n" + "".join(f"{i + 1},{q:.9g}\n" for i, q in enumerate(b)))
    sys.exit(bad)


main()
