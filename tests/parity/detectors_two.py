"""Two-stage detectors against torchvision's, from the same weights on the same pictures.

usage: detectors_two.py DETECTOR_RUN [MODEL...] [--narrow] [--write]
       detectors_two.py DETECTOR_RUN --trained RUN PICTURES
       detectors_two.py DETECTOR_RUN --start [MODEL...]

DETECTOR_RUN is the program that the target detector_run builds. Each network gets seeded weights and two pictures of odd sizes on one
canvas. Compared are
  in evaluation   what the heads say (1e-4 of the largest), the proposals' number, and the detections: boxes, scores and classes
  in training     each loss, and what a plain SGD step changes in every parameter and running statistic: to 2e-3, or to twice what
                  PyTorch's own f32 is off, if that is more. The samplers take the first rows on both sides (torch.randperm counts up).
PyTorch computes in double. A change or a detection that hangs on one comparison that rounding decides is gone with another seed, an
error is not: a few seeds are tried.
--narrow does it with narrow versions first; --write puts these into tests/golden/rcnn.safetensors, which tests/models/rcnn_nets_test.c
reads.
--trained takes a run folder of a Faster R-CNN on a MobileNetV3-Large, of any widths, and a folder of PNGs of one size, at most 64 of
which both sides look at: detections whose scores differ by less than 1e-4 may be swapped, the others must be the same.
--start compares what weights start from, of the program cvrun beside DETECTOR_RUN: constants, and deviations of what is drawn.
Needs torch, torchvision, safetensors.
"""
import configparser, copy, functools, pathlib, subprocess, sys, tempfile
import torch, torchvision
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import mobilenetv3, resnet
from torchvision.models.detection import backbone_utils, faster_rcnn, mask_rcnn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.misc import FrozenBatchNorm2d
from networks import NarrowResNet

CLASSES = 3
GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/rcnn.safetensors"
LR = 0.5
KEYS = ("norm", "norm_eps", "fpn_channels", "representation_size")
MOBILE = 0.02  # width of the narrow MobileNet
UNKEPT = ("faster_batch",)  # narrow, and yet not in the golden file: faster_v2 has its batch norms, too
HEADS = "rpn.head.cls_logits rpn.head.bbox_pred roi_heads.box_predictor.cls_score roi_heads.box_predictor.bbox_pred"


# ---- the networks ----


def frozen(net):
    """The body's batch norms as FrozenBatchNorm2d."""
    for name, child in net.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(net, name, FrozenBatchNorm2d(child.num_features, eps=child.eps))
        else:
            frozen(child)
    return net


def narrow_body(mobile, freeze, v2, channels):
    if mobile:
        body = torchvision.models.MobileNetV3(*mobilenetv3._mobilenet_v3_conf("mobilenet_v3_large", width_mult=MOBILE), num_classes=2, norm_layer=nn.BatchNorm2d).features
        layers, widths = {"13": "0", "16": "1"}, [body[13].out_channels, body[16].out_channels]
    else:
        body = NarrowResNet(resnet.Bottleneck, [1, 1, 1, 1], 2, False, 2)
        layers, widths = {f"layer{i + 1}": str(i) for i in range(4)}, [8, 16, 32, 64]
    body = frozen(body) if freeze else body
    return backbone_utils.BackboneWithFPN(body, layers, widths, channels, LastLevelMaxPool(), nn.BatchNorm2d if v2 else None)


def narrow(mobile=False, freeze=True, v2=False, mask=False):
    c, rep, k = 6, 8, CLASSES + 1
    backbone = narrow_body(mobile, freeze, v2, c)
    sizes = ((16, 32),) * 3 if mobile else ((8,), (16,), (32,), (48,), (64,))
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    more = dict(rpn_batch_size_per_image=32, box_batch_size_per_image=16, box_detections_per_img=8, rpn_pre_nms_top_n_train=40, rpn_pre_nms_top_n_test=30, rpn_post_nms_top_n_train=50, rpn_post_nms_top_n_test=20)
    head = faster_rcnn.FastRCNNConvFCHead((c, 7, 7), [c] * 4, [rep], norm_layer=nn.BatchNorm2d) if v2 else faster_rcnn.TwoMLPHead(c * 49, rep)
    more |= dict(rpn_anchor_generator=anchors, rpn_head=RPNHead(c, anchors.num_anchors_per_location()[0], 2 if v2 else 1), box_head=head, box_predictor=faster_rcnn.FastRCNNPredictor(rep, k))
    if mask:
        head = mask_rcnn.MaskRCNNHeads(c, [c] * 4, 1, norm_layer=nn.BatchNorm2d if v2 else None)
        return mask_rcnn.MaskRCNN(backbone, mask_head=head, mask_predictor=mask_rcnn.MaskRCNNPredictor(c, c, k), **more)
    return faster_rcnn.FasterRCNN(backbone, **more)


def full(name, freeze, classes=CLASSES, **more):
    net = getattr(torchvision.models.detection, name)(weights=None, weights_backbone=None, num_classes=classes + 1, **more)
    if freeze:
        frozen(net.backbone.body)
    return net


def cases():
    """label: (module, model, settings, canvas, objects of the two pictures)"""
    few = "fpn_channels=6 representation_size=8 rpn_batch_size_per_image=32 box_batch_size_per_image=16 box_detections_per_img=8 rpn_pre_nms_top_n_train=40 rpn_pre_nms_top_n_test=30 rpn_post_nms_top_n_train=50 rpn_post_nms_top_n_test=20 draw=first"
    resnet_few, mobile_few = f"layers=1,1,1,1 width=2 anchor_sizes=8,16,32,48,64 {few}", f"width_mult={MOBILE} anchor_sizes=16,32 rpn_score_thresh=0 {few}"
    size, many = (64, 64), (6, 5)
    small = {
        "faster": (functools.partial(narrow), "fasterrcnn_resnet50_fpn", resnet_few, size, (4, 0)),
        "faster_batch": (functools.partial(narrow, freeze=False), "fasterrcnn_resnet50_fpn", f"norm=batch {resnet_few}", size, many),
        "faster_v2": (functools.partial(narrow, freeze=False, v2=True), "fasterrcnn_resnet50_fpn_v2", resnet_few, size, many),
        "faster_mobile": (functools.partial(narrow, mobile=True), "fasterrcnn_mobilenet_v3_large_320_fpn", mobile_few, (64, 96), many),
        "mask": (functools.partial(narrow, mask=True), "maskrcnn_resnet50_fpn", resnet_few, size, (0, 3)),
        "mask_v2": (functools.partial(narrow, freeze=False, v2=True, mask=True), "maskrcnn_resnet50_fpn_v2", resnet_few, size, many),
    }
    size, large = (256, 288), {}
    for name in ("fasterrcnn_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn", "maskrcnn_resnet50_fpn"):
        for freeze in (True, False):
            large[name + ("" if freeze else "/batch")] = (functools.partial(full, name, freeze), name, f"norm={'frozen' if freeze else 'batch'} draw=first", size, many)
    for name in ("fasterrcnn_resnet50_fpn_v2", "maskrcnn_resnet50_fpn_v2"):
        large[name] = (functools.partial(full, name, False, box_batch_size_per_image=64), name, "draw=first box_batch_size_per_image=64", size, many)
    return large, small


def seeded(make, seed, v2):
    """Weights as the network starts, but with statistics, scales and shifts that matter, and heads whose scores differ."""
    torch.manual_seed(seed)
    net = make()
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm2d, FrozenBatchNorm2d)):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
            module.bias.data += torch.where(torch.rand_like(module.bias) < 0.75, 1.0, -1.0)
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked.fill_(3)
    for module in (net.rpn.head.cls_logits, net.rpn.head.bbox_pred):
        nn.init.normal_(module.weight, 0, 0.5 / module.in_channels**0.5)
        nn.init.normal_(module.bias, 0, 0.3)
    nn.init.kaiming_normal_(net.rpn.head.conv[0][0].weight)
    with torch.no_grad():
        for t in net.state_dict().values():
            t.copy_(t.bfloat16() if t.is_floating_point() else t)  # the golden file has half as many bytes
    return net


def batch(canvas, counts, seed, masks):
    """Two pictures of odd sizes, with objects; and what stands past them is of no account."""
    torch.manual_seed(seed)
    h, w = canvas
    image, sizes = torch.zeros(2, 3, h, w, dtype=torch.uint8), torch.tensor([[h - 7.0, w - 25.0], [h - 29.0, w - 3.0]])
    counts, most = torch.tensor(counts), max(counts) + 1
    boxes, labels = torch.zeros(2, most, 4), torch.zeros(2, most, dtype=torch.int64)
    shapes = torch.zeros(2, most, h, w, dtype=torch.uint8)
    for i in range(2):
        y, x = sizes[i].int().tolist()
        image[i, :, :y, :x] = torch.randint(0, 256, (3, y, x), dtype=torch.uint8)
        for k in range(counts[i]):
            side = torch.rand(2) * torch.tensor([x, y]) * 0.4 + torch.tensor([x, y]) * 0.15
            at = torch.rand(2) * (torch.tensor([x, y]) - side)
            boxes[i, k] = torch.cat([at, at + side])
            labels[i, k] = torch.randint(0, CLASSES, ())
            a, b, c, d = boxes[i, k].round().int().tolist()
            shapes[i, k, b:d, a:c] = torch.rand(d - b, c - a) < 0.8
    found = {"image": image, "image_size": sizes, "boxes": boxes, "box_labels": labels, "counts": counts}
    return found | ({"masks": shapes} if masks else {})


# ---- the oracle ----


def calibrate(net, b):
    """Last layers whose outputs are about 1 in size: a deep network of random weights says numbers in the thousands, and all boxes are
    clipped to nothing."""
    net = net.eval()
    heads, sizes = net.roi_heads, [tuple(s) for s in b["image_size"].int().tolist()]
    boxes = [b["boxes"][i, :n] for i, n in enumerate(b["counts"].tolist())]

    def scale(layer, x, to):
        layer.weight.data *= to / layer(x).std()
        layer.weight.data = layer.weight.data.bfloat16().float()

    with torch.no_grad():
        maps = net.backbone(b["image"].float() / 255)
        x = net.rpn.head.conv(maps["0"])
        scale(net.rpn.head.cls_logits, x, 1.0)
        scale(net.rpn.head.bbox_pred, x, 0.3)
        x = heads.box_head(copy.deepcopy(heads.box_roi_pool)(maps, boxes, sizes))
        scale(heads.box_predictor.cls_score, x, 1.0)
        scale(heads.box_predictor.bbox_pred, x, 1.0)
        if heads.has_mask():
            x = heads.mask_head(copy.deepcopy(heads.mask_roi_pool)(maps, boxes, sizes))
            x = heads.mask_predictor.relu(heads.mask_predictor.conv5_mask(x))
            scale(heads.mask_predictor.mask_fcn_logits, x, 1.0)
    return net


def targets_of(b, dtype):
    out = []
    for i, n in enumerate(b["counts"].tolist()):
        t = {"boxes": b["boxes"][i, :n].to(dtype), "labels": b["box_labels"][i, :n] + 1}
        out.append(t | ({"masks": b["masks"][i, :n]} if "masks" in b else {}))
    return out


def run(net, b, dtype, train):
    """What the heads say, the proposals, and the detections or losses."""
    said, hooks = {}, []

    def note(name):
        return lambda module, args, result: said.setdefault(name, []).append(result.detach())

    for name in HEADS.split():
        hooks.append(net.get_submodule(name).register_forward_hook(note(name)))
    images = ImageList((b["image"].float() / 255).to(dtype), [tuple(s) for s in b["image_size"].int().tolist()])
    targets = targets_of(b, dtype) if train else None
    features = net.backbone(images.tensors)
    # in double, too, anchors are those of f32
    proposals, losses = net.rpn(images, features, targets)
    found, more = net.roi_heads(features, proposals, images.image_sizes, targets)
    for h in hooks:
        h.remove()
    return said, proposals, found, losses | more


def oracle(net, b, dtype):
    net = copy.deepcopy(net).to(dtype)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with torch.no_grad():
        said, proposals, found, _ = run(net.eval(), b, dtype, False)
    net.train()
    order, torch.randperm = torch.randperm, lambda n, **more: torch.arange(n)
    try:
        trained, _, _, losses = run(net, b, dtype, True)
    finally:
        torch.randperm = order
    sum(losses.values()).backward()
    with torch.no_grad():
        for p in net.parameters():
            if p.grad is not None:
                p -= LR * p.grad
    after = net.state_dict()
    return said, proposals, found, trained, losses, {k: after[k].double() - before[k].double() for k in before}


# ---- the comparison ----


def text(s):
    return torch.tensor(list(s.encode()), dtype=torch.uint8)


def ours(program, kind, inputs):
    with tempfile.TemporaryDirectory() as folder:
        save_file(inputs, f"{folder}/in.safetensors")
        done = subprocess.run([program, f"{folder}/in.safetensors", f"{folder}/out.safetensors", kind], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return {k.split("/", 1)[1]: v for k, v in load_file(f"{folder}/out.safetensors").items()}


def check_heads(said, mine, proposals, what):
    """The farthest that a head's output is off, of its largest. Regions of equal scores may be in another order."""
    worst = 0.0
    for name, calls in said.items():
        for i, t in enumerate(calls):
            m, largest = mine[f"layer.{name}.{i}"].double(), t.abs().max()
            if not name.startswith("roi_heads"):
                worst = max(worst, ((m - t).abs().max() / largest).item())
                continue
            rows = m.shape[0] // len(proposals)  # there is room for more regions than there are
            for p, theirs in enumerate(t.split([len(x) for x in proposals])):
                near = torch.cdist(theirs, m[p * rows : p * rows + len(theirs)], p=float("inf")).min(1).values
                worst = max(worst, (near.max() / largest).item())
    print(f"    heads {what:8} {worst:.1e}")
    return worst


def check_found(found, mine):
    """The farthest that a detection is off: boxes in pixels, scores; infinite where the lists differ. Equal scores may swap."""
    worst = 0.0
    for i, f in enumerate(found):
        n = int((mine["labels"][i] >= 0).sum())
        if n != len(f["boxes"]):
            return float("inf")
        left = list(range(n))
        for k in range(n):
            near = [j for j in left if int(f["labels"][j]) - 1 == int(mine["labels"][i][k]) and abs(f["scores"][j].item() - mine["scores"][i][k].item()) < 1e-4]
            if not near:
                return float("inf")
            j = min(near, key=lambda j: (f["boxes"][j] - mine["boxes"][i][k]).abs().max().item())
            left.remove(j)
            worst = max(worst, (f["boxes"][j] - mine["boxes"][i][k]).abs().max().item())
            if "masks" in f:
                worst = max(worst, (f["masks"][j].flatten() - mine["masks"][i][k]).abs().max().item())
    return worst


def distances(theirs, mine):
    floor = 1e-4 * max(d.pow(2).mean().sqrt() for k, d in theirs.items() if d.dim() > 1)
    return {k: ((mine[k] - d).norm() / max(d.norm(), floor * d.numel() ** 0.5)).item() for k, d in theirs.items()}


def compare(program, label, case, seed, is_narrow):
    make, model, settings, canvas, counts = case
    net = seeded(make, seed, "v2" in model)
    b = batch(canvas, counts, seed, "mask" in model)
    if not is_narrow:
        calibrate(net, b)
    fields = {"model": text(model), "settings": text(settings), "classes": torch.tensor(CLASSES), "lr": torch.tensor(LR), "capture": text(HEADS)} | b
    fields |= {f"param.{k}": v.bfloat16() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    fields = {f"{label.replace('/', '-')}/{k}": v.contiguous() for k, v in fields.items()}
    said, proposals, found, trained, losses, theirs = oracle(net, b, torch.float64)
    own = oracle(net, b, torch.float32)
    mine = ours(program, "eval", fields)
    heads = check_heads(said, mine, proposals, "eval")
    boxes = check_found(found, mine)
    print(f"    {sum(len(f['boxes']) for f in found)} detections of {[len(p) for p in proposals]} proposals: off by {boxes:.1e}")
    step = ours(program, "train", fields)
    loss = max(abs(step[k].item() - v.item()) / max(abs(v.item()), 1e-3) for k, v in losses.items())
    print("    losses " + ", ".join(f"{k[5:]} {v.item():.5f} {step[k].item():.5f}" for k, v in losses.items()))
    before = {k: v.double() for k, v in net.state_dict().items()}
    changes = {k: step[f"after.{k}"].double() - before[k] for k in before}
    off, f32 = distances(theirs, changes), distances(theirs, own[5])
    over, d, bound, k = max((d / max(2e-3, 2 * f32[k]), d, max(2e-3, 2 * f32[k]), k) for k, d in off.items())
    print(f"    change {d:.1e} of at most {bound:.1e} in {k}")
    good = heads <= 1e-4 and boxes <= 1e-2 and loss <= 1e-4 and (d <= 1e-3 if is_narrow else over <= 1)  # other machines, with room to spare
    expected = {f"expect.{k}": v.float() for k, v in losses.items()} | {f"change.{k}": v.float() for k, v in theirs.items()}
    for i, f in enumerate(found):
        expected |= {f"expect.{name}.{i}": f[name].float() if name != "labels" else f[name] - 1 for name in f}
    golden = fields | {f"{label.replace('/', '-')}/{k}": v.contiguous() for k, v in expected.items()}
    return good, golden


def check(program, label, case, is_narrow=False):
    print(label, flush=True)
    for seed in range(7, 15 if is_narrow else 13):
        good, golden = compare(program, label, case, seed, is_narrow)
        if good:
            return golden
    print(f"{label} FAILS")
    return None


def trained(program, run_folder, pictures):
    """What a trained network finds, on both sides."""
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(run_folder / "config.ini")
    weights = load_file(run_folder / "weights/last.safetensors")
    keys = {k: v for k, v in ini["model"].items() if k in KEYS}
    rows, c, rep = (weights[k].shape[0] for k in ("roi_heads.box_predictor.cls_score.weight", "backbone.fpn.inner_blocks.0.0.weight", "roi_heads.box_head.fc7.weight"))
    body = torchvision.models.mobilenet_v3_large(norm_layer=nn.BatchNorm2d).features
    body = body if keys.get("norm") == "batch" else frozen(body)
    backbone = backbone_utils.BackboneWithFPN(body, {"13": "0", "16": "1"}, [160, 960], c, LastLevelMaxPool())
    anchors = AnchorGenerator(((32, 64, 128, 256, 512),) * 3, ((0.5, 1.0, 2.0),) * 3)
    more = dict(rpn_pre_nms_top_n_test=150, rpn_post_nms_top_n_test=150, rpn_score_thresh=0.05)
    net = faster_rcnn.FasterRCNN(backbone, rpn_anchor_generator=anchors, box_head=faster_rcnn.TwoMLPHead(c * 49, rep), box_predictor=faster_rcnn.FastRCNNPredictor(rep, rows), **more)
    net.load_state_dict(weights)  # strict
    images = torch.stack([torchvision.io.read_image(str(p), torchvision.io.ImageReadMode.RGB) for p in sorted(pictures.glob("*.png"))[:64]])
    b = {"image": images, "image_size": torch.tensor([images.shape[2:]] * len(images)).float()}
    fields = {"model": text("fasterrcnn_mobilenet_v3_large_320_fpn"), "settings": text(" ".join(f"{k}={v}" for k, v in keys.items() if v)), "classes": torch.tensor(rows - 1), "capture": text(HEADS)}
    fields = {f"trained/{k}": v.contiguous() for k, v in (fields | b | {f"param.{k}": v for k, v in weights.items()}).items()}
    with torch.no_grad():
        said, proposals, found, _ = run(net.double().eval(), b, torch.float64, False)
    mine = ours(program, "eval", fields)
    heads, off = check_heads(said, mine, proposals, "eval"), check_found(found, mine)
    print(f"    {sum(len(f['boxes']) for f in found)} detections in {len(images)} pictures: off by {off:.1e} pixels at most")
    return heads <= 1e-4 and off <= 1e-2


def check_start(cvrun, label, case):
    """What the weights start from: the same constants, the same distributions with the same deviation."""
    from models import kind

    make, model, settings = case[:3]
    theirs = make(classes=10).state_dict()  # as many as the scenes have
    with tempfile.TemporaryDirectory() as folder:
        recipe = pathlib.Path(folder) / "recipe.ini"
        recipe.write_text("[run]\ntask = detect\nname = start\n[data]\nformat = scenes\nfields = instances\nimg_size = 64\ntrain_size = 2\nval_size = 2\n[backend]\nfallback = allow\n" f"[model]\nname = {model}\n")
        words = [cvrun, "train", recipe, f"run.project={folder}", "epochs=0", "val.interval=0", "batch=2", *(f"model.{s}" for s in settings.split())]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        mine = load_file(next(pathlib.Path(folder).glob("*/start/weights/last.safetensors")))
    good = set(mine) == set(theirs)
    for key, t in theirs.items():
        (a, p), (b, q), n = kind(t.double()), kind(mine[key].double()), t.numel()
        if t.shape != mine[key].shape or (a == "constant") != (b == "constant") or (n > 2000 and a != b) or abs(p - q) > (0 if a == "constant" else 5 * abs(p) / n**0.5):
            print(f"{label}: {key} {tuple(mine[key].shape)} starts {b} {q}; torchvision's {tuple(t.shape)} {a} {p}")
            good = False
    print(f"{label}: {len(theirs)} tensors start as torchvision's" if good else f"{label} FAILS", flush=True)
    return good


def main():
    if "--start" in sys.argv:
        wanted = [a for a in sys.argv[2:] if not a.startswith("-")]
        cvrun = pathlib.Path(sys.argv[1]).resolve().parent / "cvrun"
        torch.manual_seed(0)
        sys.exit(not all([check_start(cvrun, label, case) for label, case in cases()[0].items() if not wanted or label in wanted]))
    if "--trained" in sys.argv:
        sys.exit(not trained(sys.argv[1], *map(pathlib.Path, sys.argv[3:5])))
    program, wanted = sys.argv[1], [a for a in sys.argv[2:] if not a.startswith("-")]
    large, small = cases()
    torch.set_num_threads(1)
    good, golden = True, {}
    for label, case in small.items() if "--narrow" in sys.argv or "--write" in sys.argv else ():
        if wanted and label not in wanted:
            continue
        found = check(program, label, case, True)
        good &= found is not None
        golden |= {} if label in UNKEPT else found or {}
    if golden and "--write" in sys.argv:
        written = {key.split("/")[0] for key in golden}
        others = {key: t for key, t in load_file(GOLDEN).items() if key.split("/")[0] not in written} if wanted else {}
        save_file(others | golden, GOLDEN)
    for label, case in large.items():
        if "--narrow" not in sys.argv and (not wanted or label in wanted):
            good &= check(program, label, case) is not None
    sys.exit(not good)


if __name__ == "__main__":
    main()
