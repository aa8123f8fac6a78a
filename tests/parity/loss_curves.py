"""Loss curves of cvrun and PyTorch, step by step, from the same weights and the same batches, in each precision.

usage: loss_curves.py CVRUN [CASE...] [--steps 200] [--precision f32 bf16 bf16x3] [--itself] [--write] [-v]

cvrun makes the initial weights (seed 0) and trains on unshuffled, unaugmented batches of Fashion-MNIST; PyTorch loads those weights,
sees the same pictures and does the same steps. f32 and bf16x3 are held against PyTorch's f32; bf16 against PyTorch's autocast to
bf16 and against its f32, beside which stands what autocast itself differs from f32. Printed are the largest relative difference of a
step's loss, and that of the mean of the last ten; both must stay below the bound that stands beside them. Learning rates are small
enough for rounding not to be blown up from step to step: at the recipes' own rates PyTorch leaves itself as fast (--itself runs it
without oneDNN, that is, with its sums in another order, and prints that difference).
--write stores PyTorch's losses of the first 50 steps as golden files, which tests/cli/curve_test.sh compares cvrun with.
Needs torch, torchvision and numpy, and Debian's dataset-fashion-mnist.
"""
import argparse, gzip, pathlib, statistics, sys, tempfile
import numpy as np, torch
from torchvision.transforms.v2 import functional as F
from networks import Article, Demo, make
from side_by_side import differences, load_weights, step_losses, torch_losses, train

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path("/usr/share/datasets/fashion-mnist")
GOLDEN_STEPS = 50
RESNET = "[data]\nformat = idx\nmean = 0.286\nstd = 0.353\n[model]\nname = resnet18_cifar\nin_channels = 3\n[train]\nbatch = 16\n[optim]\nname = sgd\nlr = 0.00002\nmomentum = 0.9\n"
CASES = {
    "demo": dict(
        net=Demo, recipe=ROOT / "apps/recipes/fashion-mnist.ini", batch=128, size=28, channels=1, mean=0.286, std=0.353, smoothing=0.05, most=200,
        settings=["optim.lr=0.001", "sched.name=constant", "sched.warmup_epochs=0"],
        optim=lambda p: torch.optim.SGD(p, lr=0.001, momentum=0.9, nesterov=True, weight_decay=5e-4)),
    "article": dict(
        net=Article, recipe=ROOT / "apps/recipes/article.ini", batch=32, size=224, channels=3, mean=0.0, std=1.0, smoothing=0.0, most=100,
        settings=["optim.lr=0.00005"], optim=lambda p: torch.optim.Adam(p, lr=0.00005)),
    "resnet18_cifar": dict(
        net=lambda: make("resnet18_cifar", 10), recipe=RESNET, batch=16, size=28, channels=3, mean=0.286, std=0.353, smoothing=0.0, most=100,
        settings=[], optim=lambda p: torch.optim.SGD(p, lr=0.00002, momentum=0.9)),
}
# (cvrun's precision, PyTorch's): bounds of the largest difference and of the last steps' mean, some four times what was seen on an
# AVX-512 machine: f32 1.3e-3 and 2.8e-4 (PyTorch from itself 1.0e-3 and 3.0e-4), bf16 3.0e-3 and 4e-4 (PyTorch's bf16 from its f32
# 2.8e-3 and 2e-4).
BOUNDS = {("f32", "f32"): (5e-3, 1.5e-3), ("bf16x3", "f32"): (5e-3, 1.5e-3), ("bf16", "bf16"): (1.2e-2, 2e-3), ("bf16", "f32"): (1.2e-2, 2e-3)}


def pictures(n, case):
    raw = np.frombuffer(gzip.open(DATA / "train-images-idx3-ubyte.gz").read(), np.uint8, offset=16)[: n * 784]
    labels = np.frombuffer(gzip.open(DATA / "train-labels-idx1-ubyte.gz").read(), np.uint8, offset=8)[:n]
    x = torch.from_numpy(raw.reshape(n, 1, 28, 28).copy())
    return x, torch.from_numpy(labels.astype(np.int64))


def batches(case, steps):
    """Made as they are asked for: the article's pictures would take gigabytes."""
    x, y = pictures(steps * case["batch"], case)
    for i in range(steps):
        part = slice(i * case["batch"], (i + 1) * case["batch"])
        batch = x[part].expand(-1, case["channels"], -1, -1)
        if case["size"] != 28:
            batch = F.resize(batch, [case["size"]], antialias=True)
        yield (batch.float() / 255 - case["mean"]) / case["std"], y[part]


def plain_recipe(case, out):
    """The recipe without its augmentation and dropout."""
    text = case["recipe"] if isinstance(case["recipe"], str) else case["recipe"].read_text()
    keep, skip = [], False
    for line in text.splitlines():
        if line.startswith("["):
            skip = line.strip() == "[augment]"
        if not skip and "= dropout" not in line:
            keep.append(line)
    out.write_text("\n".join(keep) + "\n")


def cut_data(folder, n):
    """The first n pictures as IDX files of their own: data.limit would take them evenly spread."""
    for name, head, item in (("train-images-idx3-ubyte", 16, 784), ("train-labels-idx1-ubyte", 8, 1)):
        raw = gzip.open(DATA / f"{name}.gz").read()
        (folder / name).write_bytes(raw[:4] + n.to_bytes(4, "big") + raw[8:head] + raw[head : head + n * item])


def ours(cvrun, case, steps, precisions):
    """cvrun's initial weights, and its losses in each precision."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        cut_data(folder, steps * case["batch"])
        plain_recipe(case, folder / "recipe.ini")
        settings = [f"data.root={folder}", f"train.batch={case['batch']}", *case["settings"]]
        start = train(cvrun, folder / "recipe.ini", folder, "start", "epochs=0", *settings)
        losses = {p: step_losses(train(cvrun, folder / "recipe.ini", folder, p, "epochs=1", f"backend.precision={p}", *settings)) for p in precisions}
        return load_weights(start / "weights/last.safetensors"), losses


def theirs(case, weights, steps, low=False):
    net = case["net"]()
    net.load_state_dict(weights, strict=True)
    return torch_losses(net, case["optim"](net.parameters()), batches(case, steps), low, case["smoothing"])


def compare(name, a, b, what, bound=None):
    """One line; whether a stays with b."""
    every = differences(a, b)
    last = differences([statistics.mean(a[-10:])], [statistics.mean(b[-10:])])[0]
    good = bound is None or max(every) <= bound[0] and last <= bound[1]
    limits = f"{bound[0]:8.1e} {bound[1]:8.1e}" if bound else " " * 17
    print(f"{name:15} {what:32} {len(a):5} {b[0]:8.4f} {b[-1]:8.4f} {max(every):9.1e} {last:9.1e} {limits}{'' if good else '  PARTED'}", flush=True)
    return good


def check(cvrun, name, args):
    case, good = CASES[name], True
    steps = min(args.steps, case["most"])
    weights, mine = ours(cvrun, case, steps, args.precision)
    other = {"f32": theirs(case, weights, steps)}
    if "bf16" in args.precision:
        other["bf16"] = theirs(case, weights, steps, low=True)
    for (p, q), bound in BOUNDS.items():
        if p in mine:
            good &= compare(name, mine[p], other[q], f"cvrun {p}, PyTorch {q}", bound)
    if "bf16" in other:
        compare(name, other["bf16"], other["f32"], "PyTorch bf16, PyTorch f32")
    if args.itself:
        with torch.backends.mkldnn.flags(enabled=False):
            compare(name, theirs(case, weights, steps), other["f32"], "PyTorch f32 without oneDNN, with")
    if args.verbose:
        for i in range(steps):
            print(i + 1, *(f"{k} {v[i]:.6f}" for k, v in [*mine.items(), *((f"PyTorch {k}", v) for k, v in other.items())]))
    golden = ROOT / f"tests/golden/curve_{name}.csv"
    if args.write and golden.exists():
        golden.write_text("step,loss\n" + "".join(f"{i + 1},{q:.9g}\n" for i, q in enumerate(other["f32"][:GOLDEN_STEPS])))
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cvrun", type=pathlib.Path)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; none: all")
    parser.add_argument("--steps", type=int, default=200, help="at most; all but the demo's network, which are slow, do 100")
    parser.add_argument("--precision", nargs="+", choices=["f32", "bf16", "bf16x3"], default=["f32", "bf16", "bf16x3"])
    parser.add_argument("--itself", action="store_true", help="also PyTorch with its sums in another order")
    parser.add_argument("--write", action="store_true", help="golden files")
    parser.add_argument("-v", "--verbose", action="store_true", help="every step's losses")
    args = parser.parse_intermixed_args()
    for name in args.cases:
        if name not in CASES:
            parser.error(f"no case {name}; there are {', '.join(CASES)}")
    if args.write and args.steps < GOLDEN_STEPS:
        parser.error(f"golden files have {GOLDEN_STEPS} steps")
    torch.set_num_threads(2)
    print("                                                                          relative difference  bounds of")
    print("case            sides                            steps     loss       to   largest   last 10  largest  last 10")
    sys.exit(not all([check(args.cvrun, name, args) for name in args.cases or CASES]))


main()
