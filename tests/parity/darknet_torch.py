"""Darknet's networks said again with torch, for what Debian's program does not know: mish, gelu, groups, scale_x_y, new_coords
and losses of overlap (YOLOv4).

  darknet_torch.py       makes tests/golden/darknet/yolov4.weights (random), yolov4.txt (what it detects) and
                         yolov4.after.weights (after a step of SGD on picture 0 with darknet.py's OBJECTS)

The gradient of a loss of overlap is Darknet's: that for x, y, w, h of the box in shares of the picture, the sides' times
exp(t), goes to the four numbers as it is (without new_coords), and is cut at max_delta.
"""

import math
import os
import struct

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.ops as ops

from darknet import HERE, OBJECTS, picture, read_cfg, write_weights

SIDE, LR = 64, 0.01
LAYERS = {"linear": lambda x: x, "leaky": lambda x: F.leaky_relu(x, 0.1), "mish": F.mish, "gelu": lambda x: F.gelu(x, approximate="tanh"), "swish": F.silu, "logistic": torch.sigmoid}


class Net:
    def __init__(self, name):
        self.sections = read_cfg(os.path.join(HERE, name + ".cfg"))[1:]
        data = np.frombuffer(open(os.path.join(HERE, name + ".weights"), "rb").read()[20:], "<f4").copy()
        self.order, self.params, at = [], {}, 0
        channels = [3]
        for i, (kind, o) in enumerate(self.sections):
            c = channels[-1]
            if kind == "convolutional":
                n, k, g = int(o["filters"]), int(o["size"]), int(o.get("groups", 1))
                parts = [("bias", (n,))]
                if o.get("batch_normalize") == "1":
                    parts += [("scale", (n,)), ("mean", (n,)), ("var", (n,))]
                for part, shape in parts + [("weight", (n, c // g, k, k))]:
                    size = int(np.prod(shape))
                    value = torch.from_numpy(data[at : at + size]).reshape(shape).clone()
                    self.params[i, part] = value.requires_grad_(part not in ("mean", "var"))
                    self.order.append((i, part))
                    at += size
                c = n
            elif kind == "route":
                c = sum(channels[1:][k if k >= 0 else i + k] for k in map(int, o["layers"].split(","))) // int(o.get("groups", 1))
            channels.append(c)
        assert at == len(data)

    def forward(self, x, training):
        """[(cfg of a head, (A, 5 + K, h, w))]"""
        outs, heads = [], []
        for i, (kind, o) in enumerate(self.sections):
            if kind == "convolutional":
                p = {part: self.params[j, part] for j, part in self.order if j == i}
                k = int(o["size"])
                norm = "scale" in p
                x = F.conv2d(x, p["weight"], None if norm else p["bias"], int(o["stride"]), k // 2 if o.get("pad") == "1" else 0, groups=int(o.get("groups", 1)))
                if norm:
                    x = F.batch_norm(x, p["mean"], p["var"], p["scale"], p["bias"], training, 0.01, 1e-5)
                x = LAYERS[o["activation"]](x)
            elif kind == "route":
                parts = [outs[k if k >= 0 else i + k] for k in map(int, o["layers"].split(","))]
                g = int(o.get("groups", 1))
                parts = [p.chunk(g, 1)[int(o.get("group_id", 0))] for p in parts]
                x = torch.cat(parts, 1)
            elif kind == "yolo":
                n = len(o["mask"].split(","))
                heads.append((o, x.reshape(n, -1, *x.shape[2:])))
            else:
                raise ValueError(kind)
            outs.append(x)
        return heads


def head_of(o):
    anchors = [float(v) for v in o["anchors"].split(",")]
    anchors = list(zip(anchors[::2], anchors[1::2]))
    return anchors, [int(v) for v in o["mask"].split(",")], o.get("new_coords") == "1", float(o.get("scale_x_y", 1))


def box_of(o, t, a, y, x, h, w):
    """x, y, w, h in shares of the picture, of t (4)"""
    anchors, mask, new, z = head_of(o)
    inside = t[:2] if new else torch.sigmoid(t[:2])
    centre = (torch.tensor([x, y]) + inside * z - 0.5 * (z - 1)) / torch.tensor([w, h])
    grow = t[2:] ** 2 * 4 if new else torch.exp(t[2:])
    return torch.cat([centre, grow * torch.tensor(anchors[mask[a]]) / SIDE])


def detect(heads):
    boxes, scores = [], []
    for o, t in heads:
        new = head_of(o)[2]
        n, _, h, w = t.shape
        for y in range(h):
            for x in range(w):
                for a in range(n):
                    boxes.append(ops.box_convert(box_of(o, t[a, :4, y, x], a, y, x, h, w), "cxcywh", "xyxy") * SIDE)
                    s = t[a, 4:, y, x] if new else torch.sigmoid(t[a, 4:, y, x])
                    scores.append(s[0] * s[1:])
    boxes, scores = torch.stack(boxes), torch.stack(scores)
    found = []
    for k in range(scores.shape[1]):
        keep = torch.nonzero(scores[:, k] > 0.005)[:, 0]
        keep = keep[ops.nms(boxes[keep], scores[keep, k], 0.6)]
        found += [(-float(scores[i, k]), k, boxes[i].clamp(0, SIDE).tolist()) for i in keep]
    return sorted(found)


def shape_iou(a, b):
    both = min(a[0], b[0]) * min(a[1], b[1])
    return both / (a[0] * a[1] + b[0] * b[1] - both)


class Pass(torch.autograd.Function):
    """t as the box's four numbers, with Darknet's gradient."""

    @staticmethod
    def forward(ctx, t, box, grow, limit):
        ctx.save_for_backward(grow)
        ctx.limit = limit
        return box.clone()

    @staticmethod
    def backward(ctx, grad):
        (grow,) = ctx.saved_tensors
        grad = grad * torch.cat([torch.ones(2), grow])
        return grad.clamp(-ctx.limit, ctx.limit), None, None, None


def losses(heads):
    total = {"box": 0.0, "objectness": 0.0, "class": 0.0}
    objects = [v for v in OBJECTS if min(v[3], v[4]) >= 0.001]
    for o, t in heads:
        anchors, mask, new, z = head_of(o)
        n, columns, h, w = t.shape
        rows = {}
        for k, cx, cy, bw, bh in objects:
            side = (bw * SIDE, bh * SIDE)
            iou = [shape_iou(side, a) for a in anchors]
            for a, m in enumerate(mask):
                if m == int(np.argmax(iou)) or iou[m] > float(o.get("iou_thresh", 1)):
                    rows.setdefault((a, int(cy * h), int(cx * w)), []).append((k, cx, cy, bw, bh))
        truth = ops.box_convert(torch.tensor([v[1:] for v in objects]), "cxcywh", "xyxy")
        error = (lambda v, y: 0.5 * (v - y) ** 2) if new else (lambda v, y: F.binary_cross_entropy_with_logits(v, torch.full_like(v, y), reduction="none"))
        for a in range(n):
            for y in range(h):
                for x in range(w):
                    s = t[a, :, y, x]
                    mine = rows.get((a, y, x))
                    box = box_of(o, s[:4], a, y, x, h, w)
                    if mine is None:
                        here = ops.box_convert(box.detach()[None], "cxcywh", "xyxy")
                        if ops.box_iou(here, truth).max() <= float(o["ignore_thresh"]):
                            total["objectness"] = total["objectness"] + float(o.get("obj_normalizer", 1)) * error(s[4], 0.0)
                        continue
                    total["objectness"] = total["objectness"] + float(o.get("obj_normalizer", 1)) * error(s[4], 1.0)
                    classes = {v[0] for v in mine}
                    for k in range(columns - 5):
                        total["class"] = total["class"] + float(o.get("cls_normalizer", 1)) * error(s[5 + k], float(k in classes))
                    weight = float(o.get("iou_normalizer", 1))
                    grow = torch.ones(2) if new else torch.exp(s[2:4].detach())
                    # the weight inside, so that the limit sees it
                    free = Pass.apply(s[:4], box.detach(), grow, float(o.get("max_delta", 1e9)))
                    loss = {"ciou": ops.complete_box_iou_loss, "giou": ops.generalized_box_iou_loss}[o["iou_loss"]]
                    corners = ops.box_convert(free[None], "cxcywh", "xyxy")
                    want = ops.box_convert(torch.tensor([mine[-1][1:]]), "cxcywh", "xyxy")
                    total["box"] = total["box"] + weight * loss(corners, want)[0]
    return total


def main(name, seed):
    weights = os.path.join(HERE, name + ".weights")
    write_weights(weights, os.path.join(HERE, name + ".cfg"), seed)
    net = Net(name)
    with open(os.path.join(HERE, name + ".txt"), "w") as f, torch.no_grad():
        for i in range(2):
            image = torch.from_numpy(picture(i, SIDE)).permute(2, 0, 1)[None].float() / 255
            for score, k, box in detect(net.forward(image, False))[:60]:
                f.write(f"{i} {k} {-score:.6f} " + " ".join(f"{v:.3f}" for v in box) + "\n")
    image = torch.from_numpy(picture(0, SIDE)).permute(2, 0, 1)[None].float() / 255
    parts = losses(net.forward(image, True))
    sum(parts.values()).backward()
    print({k: float(v) for k, v in parts.items()})
    with open(os.path.join(HERE, name + ".after.weights"), "wb") as f:
        f.write(struct.pack("<iiiQ", 0, 2, 0, 0))
        for key in net.order:
            p = net.params[key]
            f.write((p.detach() - (LR * p.grad if p.grad is not None else 0)).numpy().astype("<f4").tobytes())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main("yolov4", 5)
