"""Segmentation networks trained by cvrun and by PyTorch on the same pictures and masks.

    segmentation.py CVRUN [unet] [deeplab] [nuclei] [--wheels FOLDER] [--sides cvrun torch] [--autocast] [--threads 2] [--keep FOLDER]

unet, deeplab: apps/recipes/segment-scenes.ini and segment-scenes-deeplab.ini, whose scenes are packed as pictures and masks first, so
that both sides read the same files. nuclei: tiles of the picture in PyPI's wheel of stardist (`pip download --no-deps -d FOLDER stardist==0.9.2`); without the
wheel there is nothing to do for them, which is said. Each side draws its own weights and its own order of pictures, as users' runs
do. Printed: mIoU (scenes) or Dice (nuclei) on the held-out pictures, and the seconds that training took. Checked: cvrun's figure is
at least the case's floor, and, where both sides run, within a point of PyTorch's, or above it.
--autocast: PyTorch computes in bf16, as the recipes' precision = auto lets cvrun where the machine is faster so; else in f32.
Needs numpy and Pillow; PyTorch's side torch and torchvision. Fashion-MNIST is Debian's dataset-fashion-mnist.
"""
import argparse, configparser, io, json, math, pathlib, re, subprocess, sys, tempfile, time, zipfile
import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPES = ROOT / "apps/recipes"
# recipe (of scenes), metric, floor
CASES = {
    "unet": (RECIPES / "segment-scenes.ini", "miou", 0.80),
    "deeplab": (RECIPES / "segment-scenes-deeplab.ini", "miou", 0.0),
    "nuclei": (None, "dice", 0.0),
}
NUCLEI = """[run]
task = segment
[data]
format = masks
root = {root}
[augment]
random_horizontal_flip =
random_vertical_flip =
[model]
name = unet
width = 16
depth = 3
[train]
epochs = 60
batch = 8
[optim]
name = adamw
lr = 0.003
[sched]
name = cosine
warmup_epochs = 2
[val]
interval = 60
"""


def tiles(wheels, root):
    """The picture in 64 tiles of 64 x 64, of which every fourth is held out. False where there is no wheel."""
    found = sorted(wheels.glob("stardist-*.whl")) if wheels else []
    if not found:
        return False
    with zipfile.ZipFile(found[-1]) as z:
        picture, labels = (np.asarray(Image.open(io.BytesIO(z.read(f"stardist/data/images/{n}2d.tif")))).astype(float) for n in ("img", "mask"))
    low, high = np.percentile(picture, [1, 99.8])
    picture = np.clip((picture - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    for i in range(64):
        part = np.s_[64 * (i // 8) :, 64 * (i % 8) :]
        side = root / ("val" if (i // 8 + i) % 4 == 3 else "train")
        for kind, values in (("images", picture), ("masks", (labels > 0).astype(np.uint8))):
            (side / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values[part][:64, :64]).save(side / kind / f"{i:02}.png")
    (root / "classes.txt").write_text("background\nnucleus\n")
    return True


def from_files(recipe, root, out):
    """The recipe with pictures from files instead of made-up ones."""
    data = f"[data]\nformat = masks\nroot = {root}\nworkers = 1\n"
    if "drop_last = yes" in recipe.read_text():
        data += "drop_last = yes\n"
    out.write_text(re.sub(r"\[data\].*?(?=\n\[)", data, recipe.read_text(), flags=re.S))
    return out


def values(recipe):
    """A recipe's settings as a user of PyTorch would read them."""
    ini = configparser.ConfigParser(inline_comment_prefixes=(";",))
    ini.read(recipe)
    return {f"{s}.{k}": ini[s][k] for s in ini.sections() for k in ini[s]}


def ours(cvrun, recipe, metric, folder, name):
    words = [cvrun, "train", recipe, f"run.project={folder}", f"run.name={name}"]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout[-3000:]}")
    summary = json.loads((folder / "segment" / name / "summary.json").read_text())
    return summary["metrics"][metric], summary["train_seconds"]


def theirs(v, root, metric, classes, autocast, threads):
    """The same run as a user of PyTorch would write it."""
    import torch
    from networks import UNet, make
    from side_by_side import loss_of

    torch.manual_seed(int(v.get("run.seed", 0)))
    torch.set_num_threads(threads)

    def load(split):
        names = sorted((root / split / "masks").glob("*.png"))
        x = [np.asarray(Image.open(root / split / "images" / n.name).convert("RGB")) for n in names]
        y = [np.asarray(Image.open(n)) for n in names]
        return torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(np.stack(y)).long()

    train, val = load("train"), load("val")
    if v["model.name"] == "unet":
        net = UNet(int(v["model.width"]), int(v["model.depth"]), True, classes)
    else:
        net = make(v["model.name"], classes)
    net = net.to(memory_format=torch.channels_last)
    epochs, batch, top = int(v["train.epochs"]), int(v["train.batch"]), float(v["optim.lr"])
    optimizer = torch.optim.AdamW(net.parameters(), lr=top, weight_decay=float(v.get("optim.weight_decay", 0.01)))
    per_epoch = len(train[0]) // batch if v.get("data.drop_last") == "yes" else -(-len(train[0]) // batch)
    warm, total, step = round(float(v.get("sched.warmup_epochs", 0)) * per_epoch), epochs * per_epoch, 0
    start = time.time()
    for epoch in range(epochs):
        net.train()
        for rows in torch.randperm(len(train[0])).split(batch)[:per_epoch]:
            lr = top * (step + 1) / warm if step < warm else top * (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2
            for group in optimizer.param_groups:
                group["lr"] = lr
            x, y = train[0][rows], train[1][rows]
            for key, axis in (("augment.random_horizontal_flip", 3), ("augment.random_vertical_flip", 2)):
                if key in v:
                    flip = torch.rand(len(rows)) < 0.5
                    x = torch.where(flip[:, None, None, None], x.flip(axis), x)
                    y = torch.where(flip[:, None, None], y.flip(axis - 1), y)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                loss = loss_of(net(x.to(memory_format=torch.channels_last).float() / 255), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        print(f"  PyTorch: epoch {epoch + 1} of {epochs}, {time.time() - start:.0f} s", file=sys.stderr, flush=True)
    seconds = time.time() - start
    net.eval()
    matrix = torch.zeros(classes, classes, dtype=torch.int64)
    with torch.no_grad():
        for x, y in zip(val[0].split(16), val[1].split(16)):
            result = net(x.to(memory_format=torch.channels_last).float() / 255)
            guess, keep = (result["out"] if isinstance(result, dict) else result).argmax(1), y != 255
            matrix += torch.bincount(y[keep] * classes + guess[keep], minlength=classes**2).view(classes, classes)
    right, both = matrix.diag().double(), (matrix.sum(0) + matrix.sum(1)).double()
    each = right / (both - right) if metric == "miou" else 2 * right / both
    return each[both > 0].mean().item(), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cvrun", type=pathlib.Path)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; none: all")
    parser.add_argument("--wheels", type=pathlib.Path)
    parser.add_argument("--sides", nargs="+", choices=["cvrun", "torch"], default=["cvrun"])
    parser.add_argument("--keep", type=pathlib.Path, help="where data and runs are left")
    parser.add_argument("--autocast", action="store_true", help="PyTorch in bf16")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    args = parser.parse_intermixed_args()
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = (args.keep or pathlib.Path(name)).resolve()
        for case in args.cases or CASES:
            scenes, metric, floor = CASES[case]
            root, recipe = folder / f"{case}-data", folder / f"{case}.ini"
            folder.mkdir(parents=True, exist_ok=True)
            if scenes:
                if not root.exists():
                    subprocess.run([args.cvrun, "pack", scenes, f"out={root}", "as=masks"], check=True, stdout=subprocess.DEVNULL)
                from_files(scenes, root, recipe)
            elif tiles(args.wheels, root):
                recipe.write_text(NUCLEI.format(root=root))
            else:
                print(f"{case:8} left out: no wheel of stardist (--wheels)")
                continue
            line, good, score = f"{case:8} {metric}:", True, None
            if "cvrun" in args.sides:
                score, seconds = ours(args.cvrun.resolve(), recipe, metric, folder, case)
                line, good = f"{line} cvrun {score:.4f} in {seconds:.0f} s", score >= floor
            if "torch" in args.sides:
                classes = len((root / "classes.txt").read_text().splitlines())
                other, took = theirs(values(recipe), root, metric, classes, args.autocast, args.threads)
                line += f" PyTorch {other:.4f} in {took:.0f} s"
                good &= score is None or score >= other - 0.01
            print(line + ("" if good else "  FAILS"), flush=True)
            failed += not good
    sys.exit(failed > 0)


main()
