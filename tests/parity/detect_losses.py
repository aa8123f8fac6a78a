#!/usr/bin/env python3
"""Numbers from torchvision for roi_align, mask_targets and the losses of detection.

Writes tests/golden/layers_{roi,detect_loss}.safetensors, next to this script's folder, in the format of layers_b.py: an op
by itself is `op:NAME`. Losses of networks are those of torchvision's own classes, from the same head outputs and matches;
what one method adds up from several ops is several cases. Needs torch, torchvision, numpy and safetensors.
"""
import pathlib
from types import SimpleNamespace

import numpy as np
import torch
import torchvision
from safetensors.numpy import save_file
from torchvision.models.detection import _utils, fcos, retinanet, roi_heads, rpn, ssd
from torchvision.ops import poolers

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
BACKGROUND, BETWEEN = -1, -2
torch.set_num_threads(1)


class Family:
    """All cases of one file."""

    def __init__(self, name):
        self.name, self.tensors = name, {}
        self.generator = torch.Generator().manual_seed(sum(map(ord, name)))

    def randn(self, *shape):
        return torch.randn(shape, generator=self.generator)

    def rand(self, *shape):
        return torch.rand(shape, generator=self.generator)

    def randint(self, below, *shape):
        return torch.randint(below, shape, generator=self.generator)

    def boxes(self, *shape, side=100.0, least=4.0, most=60.0):
        size = least + (most - least) * self.rand(*shape, 2)
        low = self.rand(*shape, 2) * (side - size).clamp(min=0)
        return torch.cat([low, low + size], dim=-1)

    def add(self, case, op, settings, inputs, out, grads=None):
        """`inputs`: tensors; `grads`: of which of them, by place, the gradient is kept. `out` was computed from these."""
        put = lambda field, t: self.tensors.__setitem__(f"{case}/{field}", np.array(t.detach().numpy() if isinstance(t, torch.Tensor) else t, order="C", copy=True))
        assert f"{case}/layer" not in self.tensors, case
        put("layer", np.frombuffer(f"op:{op}".encode(), dtype=np.uint8))
        put("settings", np.frombuffer(settings.encode(), dtype=np.uint8))
        put("train", np.array(1, dtype=np.int64))
        for i, t in enumerate(inputs):
            put(f"in{i}", t)
        put("out0", out)
        if grads is None:
            return
        gout = self.randn(*out.shape)
        put("gout0", gout)
        wanted = [inputs[i] for i in grads]
        found = torch.autograd.grad(out, wanted, gout, retain_graph=True, allow_unused=True) if out.requires_grad else [None] * len(wanted)
        for i, t, g in zip(grads, wanted, found):
            put(f"gin{i}", torch.zeros_like(t) if g is None else g)

    def write(self):
        path = GOLDEN / f"layers_{self.name}.safetensors"
        save_file({k: self.tensors[k] for k in sorted(self.tensors)}, path)
        print(f"{path.name}: {len({k.split('/')[0] for k in self.tensors})} cases, {path.stat().st_size} bytes")


# ---- regions of interest ----


def roi():
    f = Family("roi")
    square = (torch.arange(64, dtype=torch.float32) ** 2 / 64).view(1, 1, 8, 8)
    one = torch.ones(1, dtype=torch.int32)

    def align(case, rois, maps, size, ratio, aligned, scales, count=None):
        n, r, _ = rois.shape
        count = torch.full((n,), r, dtype=torch.int32) if count is None else count
        maps = [m.clone().requires_grad_(True) for m in maps]
        if len(maps) > 1:
            mapper = poolers.LevelMapper(round(-np.log2(scales[0])), round(-np.log2(scales[-1])))
            y = poolers._multiscale_roi_align(maps, list(rois), size, ratio, scales, mapper)
        else:
            y = torchvision.ops.roi_align(maps[0], list(rois), size, scales[0], ratio, aligned)
        valid = torch.arange(r)[None] < count[:, None]
        y = y * valid.reshape(-1, 1, 1, 1)
        settings = f"output_size={size[0]},{size[1]} sampling_ratio={ratio} aligned={'yes' if aligned else 'no'} scales={','.join(map(str, scales))}"
        f.add(case, "roi_align", settings, [rois, count, *maps], y, grads=range(2, 2 + len(maps)))

    plain = torch.tensor([[[1, 2, 6.5, 7]]])
    align("plain", plain, [square], (2, 2), 2, False, [1.0])
    align("aligned", plain, [square], (2, 2), 2, True, [1.0])
    align("past_the_edge", torch.tensor([[[-3, 5, 0.2, 12]]]), [square], (2, 2), -1, False, [1.0])
    for ratio in (-1, 1, 2, 3):
        for aligned in (False, True):
            rois = f.boxes(2, 5, side=24, least=0.3, most=22) - 2
            align(f"ratio{ratio}_{'aligned' if aligned else 'plain'}", rois, [f.randn(2, 3, 9, 11)], (3, 2), ratio, aligned, [0.5])
    align("wide", f.boxes(1, 2, side=10, most=10), [f.randn(1, 71, 5, 5)], (3, 3), 2, False, [0.5])
    align("flipped", torch.tensor([[[6, 5, 2, 1.5], [5, 1, 2, 4]]]), [f.randn(1, 2, 8, 8)], (2, 2), 2, True, [1.0])
    align("counted", f.boxes(2, 4, side=20, most=18), [f.randn(2, 3, 10, 10)], (2, 2), 2, False, [0.5], torch.tensor([4, 1], dtype=torch.int32))
    sides = torch.tensor([20.0, 111.9, 112, 200, 224, 300, 447.9, 448, 900])
    low = f.rand(1, 9, 2) * 40
    levels = torch.cat([low, low + sides[None, :, None] * torch.tensor([1.0, 1.0])], dim=-1)
    align("levels", levels, [f.randn(1, 2, s, s) for s in (24, 20, 14, 8)], (3, 3), 2, False, [0.25, 0.125, 0.0625, 0.03125])
    align("same_scale", levels[:1], [f.randn(1, 2, 6, 6), f.randn(1, 2, 4, 4)], (2, 2), 2, False, [0.03125, 0.03125])

    def masks(case, size, rois, match, m):
        n, r, _ = rois.shape
        y = torch.zeros(n, r, size * size)
        for i in range(n):
            own = match[i] >= 0
            y[i, own] = roi_heads.project_masks_on_boxes(m[i], rois[i, own], match[i, own].long(), size).flatten(1)
        f.add(case, "mask_targets", f"size={size}", [m, rois, match], y)

    m = (f.rand(2, 3, 20, 26) > 0.5).to(torch.uint8)
    match = torch.tensor([[0, 2, 1, BACKGROUND, 0], [BETWEEN, 1, 1, 0, 2]], dtype=torch.int32)
    masks("masks", 7, f.boxes(2, 5, side=26, least=1, most=24), match, m)
    masks("masks_small", 14, f.boxes(2, 5, side=20, least=0.5, most=6) + 5, match, m)
    large = torch.zeros(1, 2, 60, 90, dtype=torch.uint8)
    large[0, 0, 10:40, 20:70], large[0, 1, 30:, ::3] = 1, 1
    masks("masks_large", 5, torch.tensor([[[3, 2, 88, 58], [15, 12.5, 80, 50]]]), torch.tensor([[0, 1]], dtype=torch.int32), large)
    f.write()


# ---- losses ----


class Scene:
    """Pictures with objects, anchors that the networks share, and what each anchor is matched to."""

    def __init__(self, f, kinds, anchors=20, classes=6):
        self.n, self.a, self.k = len(kinds), anchors, classes
        self.anchors = f.boxes(anchors)
        objects = [0 if kind == "empty" else 3 for kind in kinds]
        objects[-1] = min(objects[-1], 2)
        self.boxes, self.labels = torch.full((self.n, 3, 4), float("nan")), torch.full((self.n, 3), 999)
        self.match = torch.full((self.n, anchors), BACKGROUND, dtype=torch.int32)
        for i, kind in enumerate(kinds):
            # around an anchor's centre, as those that are matched are
            centre = (self.anchors[:3, :2] + self.anchors[:3, 2:]) / 2
            self.boxes[i, : objects[i]] = torch.cat([centre - 3 - 20 * f.rand(3, 2), centre + 3 + 20 * f.rand(3, 2)], 1)[: objects[i]]
            self.labels[i, : objects[i]] = 1 + f.randint(classes - 1, objects[i])
            draw = f.rand(anchors)
            if kind == "mixed":
                self.match[i, draw < 0.5] = BETWEEN
                inside = ((self.anchors[:, None, :2] + self.anchors[:, None, 2:]) / 2 - self.boxes[i, None, : objects[i], :2]).amin(-1) > 0
                inside &= (self.boxes[i, None, : objects[i], 2:] - (self.anchors[:, None, :2] + self.anchors[:, None, 2:]) / 2).amin(-1) > 0
                for row in range(anchors):
                    if inside[row].any() and (draw[row] > 0.3 or row < 3):
                        self.match[i, row] = int(inside[row].float().argmax())
            elif kind == "between":
                self.match[i] = BETWEEN
        self.targets = [{"boxes": self.boxes[i, : objects[i]], "labels": self.labels[i, : objects[i]]} for i in range(self.n)]
        self.matches = [m.long() for m in self.match]

    def rows(self, background, ignore, offset=0):
        """class_targets"""
        own = self.labels.gather(1, self.match.clamp(min=0).long()) + offset
        return torch.where(self.match >= 0, own, torch.where(self.match == BACKGROUND, background, ignore))


SCENES = {"mixed": ["mixed", "empty", "mixed"], "none": ["nothing", "nothing"], "between": ["between", "between"], "empty": ["empty"]}


def leaf(t):
    return t.clone().requires_grad_(True)


def losses():
    f = Family("detect_loss")
    check_values(f)
    for name, kinds in SCENES.items():
        s = Scene(f, kinds)
        f.add(f"{name}_class_targets", "class_targets", "offset=1 background=0 ignore=-7", [s.match, s.labels], s.rows(0, -7, 1))
        one_stage(f, name, s)
        two_stage(f, name, s)
    for kind in ("diou", "ciou", "giou"):
        plain_iou(f, kind)
    gammas(f)
    hard_negatives(f)
    f.write()


def one_stage(f, name, s):
    logits = lambda: leaf(f.randn(s.n, s.a, s.k) * 2 - 1)
    deltas = lambda scale: leaf(f.randn(s.n, s.a, 4) * scale)
    anchors, target = [s.anchors] * s.n, s.rows(-1, -2)
    x = logits()
    loss = retinanet.RetinaNetClassificationHead(8, 1, s.k).compute_loss(s.targets, {"cls_logits": x}, s.matches)
    f.add(f"{name}_retinanet_classification", "anchor_focal_loss", "norm=picture first_class=1", [x, target], loss, [0])
    for kind in ("l1", "giou"):
        head, d = retinanet.RetinaNetRegressionHead(8, 1), deltas(0.5)
        head._loss_type = kind
        loss = head.compute_loss(s.targets, {"bbox_regression": d}, anchors, s.matches)
        settings = "norm=picture " + ("kind=smooth_l1 beta=0" if kind == "l1" else "kind=giou")
        f.add(f"{name}_retinanet_{kind}", "anchor_box_loss", settings, [d, s.anchors, s.boxes, s.match], loss, [0])
    if name != "between":  # FCOS's matcher knows background and objects alone
        match = s.match.clamp(min=BACKGROUND)
        x, d, c = logits(), leaf(f.rand(s.n, s.a, 4) * 2), leaf(f.randn(s.n, s.a, 1))
        out = fcos.FCOSHead(32, 1, s.k).compute_loss(s.targets, {"cls_logits": x, "bbox_regression": d, "bbox_ctrness": c}, anchors, [m.long() for m in match])
        rest = [s.anchors, s.boxes, match]
        f.add(f"{name}_fcos_classification", "anchor_focal_loss", "norm=positives first_class=1", [x, torch.where(match >= 0, target, -1)], out["classification"], [0])
        f.add(f"{name}_fcos_bbox_regression", "anchor_box_loss", "kind=giou coder=ltrb norm=positives", [d, *rest], out["bbox_regression"], [0])
        f.add(f"{name}_fcos_bbox_ctrness", "centerness_loss", "norm=positives", [c, *rest], out["bbox_ctrness"], [0])
    match = s.match.clamp(min=BACKGROUND)
    x, d = logits(), deltas(0.8)
    net = SimpleNamespace(box_coder=_utils.BoxCoder((10.0, 10.0, 5.0, 5.0)), neg_to_pos_ratio=3 if name != "mixed" else 1)
    out = ssd.SSD.compute_loss(net, s.targets, {"cls_logits": x, "bbox_regression": d}, anchors, [m.long() for m in match])
    f.add(f"{name}_ssd_classification", "anchor_cross_entropy", f"negatives={net.neg_to_pos_ratio}", [x, torch.where(match >= 0, target, 0)], out["classification"], [0])
    f.add(f"{name}_ssd_bbox_regression", "anchor_box_loss", "weights=10,10,5,5 beta=1 norm=positives", [d, s.anchors, s.boxes, match], out["bbox_regression"], [0])


def two_stage(f, name, s):
    """What was not sampled is between."""
    rows = s.anchors[None].expand(s.n, -1, -1).contiguous()
    if (s.match == BETWEEN).all():
        return
    coder, x, d = _utils.BoxCoder((1.0,) * 4), leaf(f.randn(s.n, s.a, 1)), leaf(f.randn(s.n, s.a, 4) * 0.3)
    encode = lambda weights: [torch.stack([_utils.BoxCoder(weights).encode_single(s.boxes[i, m].view(1, 4), s.anchors[j].view(1, 4))[0] if m >= 0 else torch.zeros(4) for j, m in enumerate(s.match[i].tolist())]) for i in range(s.n)]
    net = SimpleNamespace(fg_bg_sampler=lambda labels: ([m >= 0 for m in s.match], [m == BACKGROUND for m in s.match]))
    labels = [(m >= 0).float() for m in s.match]
    objectness, box = rpn.RegionProposalNetwork.compute_loss(net, x.flatten()[:, None], d.view(-1, 4), labels, encode((1.0,) * 4))
    own = torch.where(s.match >= 0, 0, torch.where(s.match == BACKGROUND, -1, -2))
    beta = "beta=0.1111111111111111 norm=counted"
    f.add(f"{name}_rpn_objectness", "anchor_focal_loss", "alpha=-1 gamma=0 norm=counted", [x, own], objectness, [0])
    f.add(f"{name}_rpn_box_reg", "anchor_box_loss", beta, [d, rows, s.boxes, s.match], box, [0])

    weights, kept = (10.0, 10.0, 5.0, 5.0), s.match != BETWEEN
    x, d, target = leaf(f.randn(s.n * s.a, s.k)), leaf(f.randn(s.n, s.a, 4 * s.k) * 0.5), s.rows(0, BETWEEN)
    entropy, box = roi_heads.fastrcnn_loss(x[kept.flatten()], d[kept], [target[kept]], [torch.stack([e for i in range(s.n) for e in encode(weights)[i]])[kept.flatten()]])
    f.add(f"{name}_rcnn_classifier", "cross_entropy", f"ignore_index={BETWEEN}", [x, target.flatten()], entropy, [0])
    f.add(f"{name}_rcnn_box_reg", "anchor_box_loss", f"weights=10,10,5,5 {beta}", [d, rows, s.boxes, s.match, target], box, [0])
    # all that were sampled are in torchvision's mean; those between count for nothing
    every = leaf(f.randn(s.n, s.a, s.k))
    bounded = torch.where(kept, target, 0)
    sums = torch.nn.functional.cross_entropy(every.flatten(0, 1), bounded.flatten(), reduction="sum") / max(1, int((bounded > 0).sum()))
    f.add(f"{name}_every_negative", "anchor_cross_entropy", "negatives=-1", [every, bounded], sums, [0])

    size, masks, picked = 3, leaf(f.randn(s.n * s.a, s.k, 3, 3)), s.match >= 0
    m = (f.rand(s.n, 3, 100, 100) > 0.5).to(torch.uint8)
    goal = torch.zeros(s.n, s.a, size * size)
    for i in range(s.n):
        goal[i, picked[i]] = roi_heads.project_masks_on_boxes(m[i], s.anchors[picked[i]], s.match[i, picked[i]].long(), size).flatten(1)
    where = [i for i in range(s.n) if picked[i].any()]
    proposals, matched = [s.anchors[picked[i]] for i in where], [s.match[i, picked[i]].long() for i in where]
    loss = roi_heads.maskrcnn_loss(masks[picked.flatten()], proposals, [m[i] for i in where], [s.labels[i] for i in where], matched) if where else masks.sum() * 0
    f.add(f"{name}_rcnn_mask", "mask_loss", "", [masks, goal, target, s.match], loss, [0])


def check_values(f):
    """Two boxes that many papers show: decoded from deltas that are 0."""
    anchors, boxes, match = torch.tensor([[0, 0, 10, 10.0]]), torch.tensor([[[5, 5, 15, 20.0]]]), torch.zeros(1, 1, dtype=torch.int32)
    coder = _utils.BoxCoder((1.0,) * 4)
    for kind, function in IOU.items():
        d = leaf(torch.zeros(1, 1, 4))
        loss = function(coder.decode_single(d[0], anchors), boxes[0], reduction="sum")
        f.add(f"two_boxes_{kind}", "anchor_box_loss", f"kind={kind}", [d, anchors, boxes, match], loss, [0])
    for i, (x, t) in enumerate(((2.0, 1.0), (-1.0, 0.0), (0.3, 1.0))):
        logits = leaf(torch.tensor([[[x]]]))
        loss = torchvision.ops.sigmoid_focal_loss(logits[0], torch.tensor([[t]]), 0.25, 2, reduction="sum")
        f.add(f"focal_{i}", "anchor_focal_loss", "alpha=0.25 gamma=2", [logits, torch.tensor([[0 if t else -1]])], loss, [0])


IOU = {"giou": torchvision.ops.generalized_box_iou_loss, "diou": torchvision.ops.distance_box_iou_loss, "ciou": torchvision.ops.complete_box_iou_loss}


def plain_iou(f, kind):
    """Boxes that meet, that are apart, and that grow past what decoding allows."""
    n, a = 2, 12
    anchors, boxes = f.boxes(n, a), f.boxes(n, 4)
    match = f.randint(6, n, a).to(torch.int32) - 2
    d = f.randn(n, a, 4)
    d[0, :3, 2] = 60.0
    d = leaf(d)
    coder = _utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
    total = torch.zeros(())
    for i in range(n):
        own = match[i] >= 0
        total = total + IOU[kind](coder.decode_single(d[i, own], anchors[i, own]), boxes[i, match[i, own].long()], reduction="sum") / max(1, int(own.sum()))
    f.add(f"plain_{kind}", "anchor_box_loss", f"kind={kind} weights=10,10,5,5 norm=picture", [d, anchors, boxes, match], total / n, [0])


def gammas(f):
    for alpha, gamma in ((-1, 2), (0.25, 0), (0.4, 1.5), (0.25, 3)):
        x, t = leaf(f.randn(2, 9, 37) * 4), f.randint(38, 2, 9) - 1
        hot = torch.nn.functional.one_hot(t.clamp(min=0), 37).float() * (t >= 0)[..., None]
        loss = torchvision.ops.sigmoid_focal_loss(x, hot, alpha, gamma, reduction="sum") / max(1, int((t >= 0).sum()))
        f.add(f"focal_a{alpha}_g{gamma}", "anchor_focal_loss", f"alpha={alpha} gamma={gamma}", [x, t], loss, [0])


def hard_negatives(f):
    """Pictures with more background than is asked for, and with less, where all objects or the first ones count twice."""
    a, k, n = 14, 5, 5
    match = torch.full((n, a), BACKGROUND, dtype=torch.int32)
    match[0, 3:5], match[1, 1:5], match[2], match[3, 7], match[4, 2:7] = 0, 0, 0, 0, 0
    for ratio in (3.0, 0.5, 2.5):
        x, boxes, labels = leaf(f.randn(n, a, k) * 2), f.boxes(n, 1), 1 + f.randint(k - 1, n, 1)
        targets = [{"boxes": b, "labels": l} for b, l in zip(boxes, labels)]
        net = SimpleNamespace(box_coder=_utils.BoxCoder((10.0, 10.0, 5.0, 5.0)), neg_to_pos_ratio=ratio)
        out = ssd.SSD.compute_loss(net, targets, {"cls_logits": x, "bbox_regression": torch.zeros(n, a, 4)}, [f.boxes(a)] * n, list(match.long()))
        target = torch.where(match >= 0, labels.expand(n, a), 0)
        f.add(f"hard_negatives_{ratio}", "anchor_cross_entropy", f"negatives={ratio}", [x, target], out["classification"], [0])


roi()
losses()
