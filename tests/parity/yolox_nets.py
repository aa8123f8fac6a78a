"""YOLOX against PyTorch: networks, SimOTA, losses, gradients, detections, from the same weights on the same pictures.

usage: yolox_nets.py DETECTOR_RUN [MODEL...] [--narrow] [--write]
       yolox_nets.py --trained CVRUN RUN PICTURES
       yolox_nets.py --ops

PyTorch runs yolox_network.py in double. Where PyPI's `yolox` can be imported (it wants loguru, tabulate, psutil and OpenCV), it is
first checked that both are one: names and shapes of all parameters, what the heads say, assignment, every loss and gradient.
Compared with cvrun are
  in evaluation   what the heads say (1e-4 of the largest) and the detections: boxes, scores and classes
  in training     each loss, and what a plain SGD step changes in every parameter and running statistic: to 2e-3, or to twice what
                  PyTorch's own f32 is off, if that is more
  apart           detections, losses and gradients of what OUR heads said, beside ours: 1e-4 of the largest
A choice that rounding decides is gone with another seed, an error is not: a few seeds are tried.
--narrow does it with narrow versions first; --write puts these into tests/golden/yolox.safetensors, which
tests/models/yolox_nets_test.c reads. --trained takes a run folder of one of the models and a folder of pictures as large as those that it
learned from: its weights are written as the reference implementation's checkpoints are, and cvrun's detections with that file are
compared with PyTorch's. --ops writes tests/golden/layers_yolox.safetensors: the ops by themselves.
"""
import copy, json, pathlib, subprocess, sys, tempfile
import torch, torchvision
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
import yolox_network as net_
from detectors_two import check_found, distances, ours, text

CLASSES = 3
GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
PARTS = ("reg_preds", "obj_preds", "cls_preds")
HEADS = " ".join(f"head.{part}.{i}" for i in range(3) for part in PARTS)


def cases():
    """label: (size's depth, width, depthwise, model, settings, side, the step's "closing", lr)"""
    few = "detections_per_img=30"
    small = {
        "yolox_separable": (0.33, 0.03125, True, "yolox_nano", f"width_mult=0.03125 {few}", 96, 1.0, 0.02),
        "yolox_plain": (0.33, 0.03125, False, "yolox_s", f"width_mult=0.03125 {few}", 128, 0.0, 0.02),
    }
    large = {f"yolox_{k}": (*v, f"yolox_{k}", few, 160, 1.0, 0.01) for k, v in net_.MODELS.items()}
    large["yolox_x"] += (0.2, 0.5)  # its depth makes 4.5e-4 of rounding in f32 elsewhere, PyTorch as well; small scales keep SiLU near what is linear
    return large, small


# ---- the reference implementation ----


def reference():
    """The modules of PyPI's yolox, or None."""
    try:
        from yolox import models
        return models
    except ImportError as why:
        print(f"the reference implementation cannot be imported ({why}): yolox_network.py is taken as it is")
        return None


def reference_net(models, depth, width, depthwise):
    channels = [256, 512, 1024]
    net = models.YOLOX(models.YOLOPAFPN(depth, width, in_channels=channels, depthwise=depthwise), models.YOLOXHead(CLASSES, width, in_channels=channels, depthwise=depthwise))
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eps, m.momentum = 1e-3, 0.03
    net.head.initialize_biases(1e-2)
    return net


def same_as_reference(models, label, case, seed=3):
    """yolox_network.py computes what the reference implementation does."""
    depth, width, depthwise, side = *case[:3], case[5]
    torch.manual_seed(seed)
    mine, theirs = net_.Yolox(depth, width, depthwise, CLASSES).double(), reference_net(models, depth, width, depthwise).double()
    same = {k: v.shape for k, v in mine.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    starts = all(torch.equal(mine.state_dict()[k], v) for k, v in theirs.state_dict().items() if k.endswith(("preds.0.bias", "running_var")) and "reg" not in k)
    theirs.load_state_dict(mine.state_dict())
    b = batch(side, seed)
    x = bgr(b).double()
    for module in (mine, theirs):
        module.train()
    theirs.head.use_l1 = True
    size = b["boxes"][..., 2:] - b["boxes"][..., :2]
    labels = torch.cat([b["box_labels"][..., None], b["boxes"][..., :2] + size / 2, size], 2).double()
    for i, n in enumerate(b["counts"].tolist()):
        labels[i, n:] = 0
    out = theirs(x, labels)
    found, match, _ = net_.losses(mine(x), b["boxes"], b["box_labels"], b["counts"], 1.0)
    ratio = (match >= 0).sum() / b["counts"].sum()
    pairs = [(out[k], found[v]) for k, v in (("iou_loss", "iou"), ("l1_loss", "l1"), ("conf_loss", "conf"), ("cls_loss", "cls"))] + [(torch.as_tensor(out["num_fg"]), ratio)]
    off = max(abs(a.item() - b.item()) / max(abs(a.item()), 1e-3) for a, b in pairs)
    out["total_loss"].backward()
    sum(found.values()).backward()
    grads = distances({k: p.grad for k, p in theirs.named_parameters()}, {k: p.grad for k, p in mine.named_parameters()})
    mine.eval(), theirs.eval()
    with torch.no_grad():
        said, flat = mine(x), theirs(x)
        deltas, objectness, classes, cells = net_.rows(said)
        boxes = net_.decoded(deltas, cells)
        whole = torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2], objectness.sigmoid()[..., None], classes.sigmoid()], 2)
        heads = ((whole - flat).abs().max() / flat.abs().max()).item()
    print(f"{label}: the reference implementation and yolox_network.py: names {'the same' if same and starts else 'DIFFER'}, heads {heads:.1e}, losses {off:.1e}, gradients {max(grads.values()):.1e}", flush=True)
    return same and starts and heads < 1e-6 and off < 1e-5 and max(grads.values()) < 1e-4


# ---- the batch, the weights ----


def batch(side, seed):
    """Two pictures smaller than their canvas; and what stands past their objects is of no account."""
    torch.manual_seed(seed)
    small = torch.randint(0, 256, (2, 3, side // 4, side // 4), dtype=torch.uint8)
    sizes, counts, most = torch.tensor([[side - 7.0, side - 25.0], [side - 29.0, side - 3.0]]), torch.tensor([6, 3]), 8
    boxes, labels = torch.full((2, most, 4), 7.0), torch.full((2, most), 99)
    for i in range(2):
        for k in range(counts[i]):
            room = sizes[i].flip(0)
            wide = (torch.rand(2) * 0.5 + 0.12) * room
            at = torch.rand(2) * (room - wide)
            boxes[i, k] = torch.cat([at, at + wide])
            labels[i, k] = torch.randint(0, CLASSES, ())
    return {"image": small.repeat_interleave(4, 2).repeat_interleave(4, 3), "image_size": sizes, "boxes": boxes, "box_labels": labels, "counts": counts, "small": small}


def bgr(b):
    """What YOLOX reads of the project's pictures, which are f32 in 0..1."""
    return (b["image"].float() / 255 * 255).flip(1)


def seeded(case, b, seed):
    """Weights as the network starts, but with statistics, scales and shifts that matter, and heads whose scores differ."""
    torch.manual_seed(seed)
    net = net_.Yolox(*case[:3], CLASSES)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)
        for m in norms:
            m.weight.uniform_(*case[8:] or (0.5, 1.5))
            m.bias.normal_(0, 0.3)
            m.momentum = 1.0
        net.train()(bgr(b))
        for m in norms:
            m.momentum = 0.03
            m.running_mean += torch.randn_like(m.running_mean) * 0.1 * m.running_var.sqrt()
            m.running_var *= torch.empty_like(m.running_var).uniform_(0.7, 1.4)
            m.num_batches_tracked.fill_(3)
        said = net.eval()(bgr(b))
        for k, part in enumerate(PARTS):
            all_ = torch.cat([maps[k].flatten() for maps in said])
            for module in getattr(net.head, part):
                module.weight *= (0.4 if k == 0 else 1.0) / all_.std()
                nn.init.normal_(module.bias, 0.4 if k == 0 else -1, 0.3)
        for t in net.state_dict().values():
            t.copy_(t.bfloat16() if t.is_floating_point() else t)  # the golden file has half as many bytes
    return net


# ---- the comparison ----


def oracle(net, case, b, dtype):
    net = copy.deepcopy(net).to(dtype)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with torch.no_grad():
        said = net.eval()(bgr(b).to(dtype))
    trained = net.train()(bgr(b).to(dtype))
    lost, match, _ = net_.losses(trained, b["boxes"], b["box_labels"], b["counts"], case[6])
    sum(lost.values()).backward()
    with torch.no_grad():
        for p in net.parameters():
            p -= case[7] * p.grad
    after = net.state_dict()
    return said, lost, match, {k: after[k].double() - before[k].double() for k in before}


def heads_of(mine, kind="layer", dtype=torch.float64):
    return [tuple(mine[f"{kind}.head.{part}.{i}.0"].to(dtype) for part in PARTS) for i in range(3)]


def off(theirs, mine):
    """The farthest that two heads' numbers are apart, of the largest of its part."""
    worst = 0.0
    for k in range(len(PARTS)):
        largest = max(maps[k].abs().max() for maps in theirs)
        worst = max(worst, max(((a[k] - b[k]).abs().max() / largest).item() for a, b in zip(theirs, mine)))
    return worst


def loss_error(lost, mine):
    return max(abs(mine[f"loss_{k}"].item() - v.item()) / max(abs(v.item()), 1e-3) for k, v in lost.items())


def as_found(found):
    return [f | {"labels": f["labels"] + 1} for f in found]


def clear(found):
    """No two scores of a picture are so near that another machine's rounding could swap them."""
    return all((f["scores"][:-1] - f["scores"][1:]).min() > 1e-5 for f in found if len(f["scores"]) > 1)


def apart(case, b, mine, step):
    """Detections of what our heads said in evaluation; losses and gradients of what they said in training."""
    found = net_.detections(heads_of(mine), b["image_size"], 30)
    said = [tuple(t.requires_grad_(True) for t in maps) for maps in heads_of(step)]
    lost, _, _ = net_.losses(said, b["boxes"], b["box_labels"], b["counts"], case[6])
    sum(lost.values()).backward()
    return check_found(as_found(found), mine), loss_error(lost, step), off([tuple(t.grad for t in maps) for maps in said], heads_of(step, "grad"))


def compare(program, label, case, seed, narrow):
    model, settings, side, closing, lr = case[3:8]
    b = batch(side, seed)
    net = seeded(case, b, seed)
    fields = {"model": text(model), "settings": text(settings), "classes": torch.tensor(CLASSES), "lr": torch.tensor(lr), "closing": torch.tensor(closing), "capture": text(HEADS)}
    fields |= {k: v for k, v in b.items() if k != "small"} | {f"param.{k}": v.bfloat16() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    fields = {f"{label}/{k}": v.contiguous() for k, v in fields.items()}
    said, lost, match, theirs = oracle(net, case, b, torch.float64)
    own = oracle(net, case, b, torch.float32)
    f32 = distances(theirs, own[3])
    mine, step = ours(program, "eval", fields), ours(program, "train", fields)
    found = net_.detections(said, b["image_size"], 30)
    heads, boxes, loss = off(said, heads_of(mine)), check_found(as_found(found), mine), loss_error(lost, step)
    same_boxes, same_loss, same_grad = apart(case, b, mine, step)
    before = {k: v.double() for k, v in net.state_dict().items()}
    changes = distances(theirs, {k: step[f"after.{k}"].double() - before[k] for k in before})
    over, d, bound, k = max((d / max(2e-3, 2 * f32[k]), d, max(2e-3, 2 * f32[k]), k) for k, d in changes.items())
    print(f"    heads {heads:.1e} (PyTorch's own f32 {off(said, [tuple(t.double() for t in maps) for maps in own[0]]):.1e}), {sum(len(f['boxes']) for f in found)} detections off by {boxes:.1e}, losses by {loss:.1e}: " + ", ".join(f"{k} {v.item():.5f}" for k, v in lost.items()) + f"; {int((match >= 0).sum())} cells learn objects")
    print(f"    apart: detections {same_boxes:.1e}, losses {same_loss:.1e}, gradients {same_grad:.1e}; change {d:.1e} of at most {bound:.1e} in {k}", flush=True)
    good = heads <= 1e-4 and boxes <= 1e-2 and same_boxes <= 1e-3 and loss <= 1e-4 and same_loss <= 1e-5 and same_grad <= 1e-4 and over <= 1
    good &= not narrow or heads <= 2e-5 and boxes <= 2e-3 and d <= 1e-3 and clear(found)
    expected = {f"expect.loss_{k}": v.float() for k, v in lost.items()} | {f"change.{k}": v.float() for k, v in theirs.items()}
    for i, f in enumerate(found):
        expected |= {f"expect.{what}.{i}": f[what].float() if what != "labels" else f[what] for what in f}
    golden = fields | {f"{label}/{k}": v.contiguous() for k, v in expected.items()}
    golden |= {f"{label}/image": b["small"], f"{label}/enlarge": torch.tensor([4, side, side])}
    return good and min(len(f["boxes"]) for f in found) > 0, golden


def check(program, label, case, tries, narrow):
    print(label, flush=True)
    for seed in range(7, 7 + tries):
        good, golden = compare(program, label, case, seed, narrow)
        if good:
            return golden
    print(f"{label} FAILS")
    return None


# ---- a network that was trained ----


def trained(cvrun, run_folder, pictures):
    """Detections above 0.05 of both, picture by picture: classes and scores to 1e-4, boxes to 0.02 pixels."""
    lines = (run_folder / "config.ini").read_text().split("[model]")[1].splitlines()
    model = next(line.split("=", 1)[1].strip() for line in lines if line.startswith("name"))
    weights = load_file(run_folder / "weights/best.safetensors")
    net = net_.make(model.removeprefix("yolox_"), weights["head.cls_preds.0.bias"].shape[0]).eval()
    net.load_state_dict(weights, strict=True)
    with tempfile.TemporaryDirectory() as out:
        folder = pathlib.Path(out)
        torch.save({"start_epoch": 3, "model": net.state_dict(), "optimizer": torch.optim.SGD(net.parameters(), 0.1).state_dict(), "best_ap": 0.5}, folder / "ckpt.pth")
        words = [cvrun, "predict", run_folder / "config.ini", f"weights={folder}/ckpt.pth", f"source={pictures}", f"predict.out={folder}/found", "predict.conf=0.05", "predict.max_det=300", "backend.precision=f32"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        mine = json.loads((folder / "found/predictions.json").read_text())
    worst_box, worst_score, n = 0.0, 0.0, 0
    for m in mine:
        image = torchvision.io.decode_image(m["file"], "RGB")
        with torch.no_grad():
            f = net_.detections(net(image.float().flip(0)[None]), torch.tensor([image.shape[1:]]), threshold=0.05)[0]
        left = list(range(len(f["scores"])))
        assert len(left) == len(m["boxes"]), (m["file"], len(m["boxes"]), len(left))
        for d in m["boxes"]:
            near = [j for j in left if int(f["labels"][j]) == d["index"] and abs(f["scores"][j].item() - d["score"]) < 1e-4]
            assert near, (m["file"], d)
            off_ = lambda j: (f["boxes"][j] - torch.tensor(d["xyxy"])).abs().max().item()
            j = min(near, key=off_)
            left.remove(j)
            worst_box, worst_score, n = max(worst_box, off_(j)), max(worst_score, abs(f["scores"][j].item() - d["score"])), n + 1
    print(f"{n} detections in {len(mine)} pictures, weights from a .pth of the reference implementation's kind: boxes off by {worst_box:.1e} pixels, scores by {worst_score:.1e}")
    return n > 0 and worst_box <= 0.02


def main():
    torch.set_num_threads(1)
    if "--trained" in sys.argv:
        sys.exit(not trained(sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4]))
    if "--ops" in sys.argv:
        import yolox_ops
        return yolox_ops.write()
    program, wanted = sys.argv[1], [a for a in sys.argv[2:] if not a.startswith("-")]
    large, small = cases()
    models, golden, good = reference(), {}, True
    take = lambda label: not wanted or label in wanted
    for label, case in (small if "--narrow" in sys.argv or "--write" in sys.argv else {}).items():
        if take(label):
            good &= models is None or same_as_reference(models, label, case)
            found = check(program, label, case, 16, True)
            good &= found is not None
            golden |= found or {}
    if golden and good and "--write" in sys.argv:
        save_file(golden, GOLDEN / "yolox.safetensors")
    for label, case in large.items():
        if "--narrow" not in sys.argv and take(label):
            good &= models is None or same_as_reference(models, label, case)
            good &= check(program, label, case, 3, False) is not None
    sys.exit(not good)


if __name__ == "__main__":
    main()
