"""What `cvrun export decode=no` writes of a detector, decoded by the papers' formulas: for onnx_export.py."""
import numpy as np

MOST_GROWTH = np.log(1000 / 16)  # torchvision lets a box grow no further


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def softmax(x):
    e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def by_centre(deltas, anchors, weights=(1, 1, 1, 1), most=np.inf):
    """Ren et al. 2015: deltas (..., 4) of the centre and of the sides' logarithms."""
    deltas, anchors = deltas.astype(np.float64) / weights, anchors.astype(np.float64)
    sides = anchors[..., 2:] - anchors[..., :2]
    centre = anchors[..., :2] + sides / 2 + deltas[..., :2] * sides
    half = np.exp(np.minimum(deltas[..., 2:], most)) * sides / 2
    return np.concatenate([centre - half, centre + half], -1)


def by_distance(deltas, anchors):
    """Tian et al. 2019: how far the four sides are from a point."""
    sides = np.tile(anchors[..., 2:] - anchors[..., :2], 2)
    centre = np.tile((anchors[..., :2] + anchors[..., 2:]) / 2, 2)
    return centre + deltas * sides * np.float64([-1, -1, 1, 1])


def read_cfg(path):
    """The sections of boxes of a .cfg file."""
    sections = []
    for line in open(path):
        line = line.split("#")[0].replace(" ", "").strip()
        if line.startswith("["):
            sections.append({"": line.strip("[]")})
        elif "=" in line:
            key, value = line.split("=", 1)
            sections[-1][key] = value
    return [s for s in sections if s[""] in ("yolo", "region")]


def darknet(heads, path, side):
    """Redmon and Farhadi 2016 and 2018, Bochkovskiy et al. 2020: maps (N, A * (5 + K), h, w)."""
    boxes, scores = [], []
    for k, s in enumerate(read_cfg(path)):
        x = heads[f"head{k}"].astype(np.float64)
        anchors = np.float64(s["anchors"].split(",")).reshape(-1, 2)
        anchors = anchors[[int(i) for i in s["mask"].split(",")]] if "mask" in s else anchors
        n, _, h, w = x.shape
        x = x.reshape(n, len(anchors), -1, h, w).transpose(0, 3, 4, 1, 2)
        region, plain = s[""] == "region", int(s.get("new_coords", 0))
        z, said = float(s.get("scale_x_y", 1)), (lambda v: v) if plain else sigmoid
        cells = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1)[None, :, :, None]
        centre = (cells + said(x[..., :2]) * z - (z - 1) / 2) * (side / np.float64([w, h]))
        growth = 4 * x[..., 2:4] ** 2 if plain else np.exp(x[..., 2:4])
        half = growth * anchors * (side / np.float64([w, h]) if region else 1) / 2
        boxes.append(np.concatenate([centre - half, centre + half], -1).reshape(n, -1, 4))
        each = softmax(x[..., 5:]) if region else said(x[..., 5:])
        scores.append((each * said(x[..., 4:5])).reshape(n, -1, x.shape[-1] - 5))
    return np.concatenate(boxes, 1), np.concatenate(scores, 1)


def decode(name, heads, path, side):
    """boxes (N, P, 4), or of each class (N, P, K, 4), within the picture; scores (N, P, K)"""
    if path:
        boxes, scores = darknet(heads, path, side)
    elif "rcnn" in name:
        logits, deltas = heads["logits"], heads["deltas"]
        deltas = deltas.reshape(*logits.shape, 4)[:, :, 1:]
        boxes = by_centre(deltas, heads["anchors"][:, :, None], (10, 10, 5, 5), MOST_GROWTH)
        scores = softmax(logits)[..., 1:]
    elif name.startswith("ssd"):
        boxes = by_centre(heads["deltas"], heads["anchors"], (10, 10, 5, 5), MOST_GROWTH)
        scores = softmax(heads["logits"])[..., 1:]
    elif name.startswith("fcos"):
        boxes = by_distance(heads["deltas"], heads["anchors"])
        scores = np.sqrt(sigmoid(heads["logits"])[..., 1:] * sigmoid(heads["centerness"]))
    elif name.startswith("yolox"):
        boxes = by_centre(heads["deltas"], heads["anchors"])
        scores = sigmoid(heads["logits"]) * sigmoid(heads["objectness"])
    else:
        boxes = by_centre(heads["deltas"], heads["anchors"], most=MOST_GROWTH)
        scores = sigmoid(heads["logits"])[..., 1:]
    return np.clip(boxes, 0, side), scores


def hold(ours, heads, name, path, side, worst):
    """Every object that cvrun found is among what the heads say: its box, and its class's score there."""
    boxes, scores = decode(name, heads, path, side)
    rows = missing = 0
    for n in range(len(scores)):
        for i in np.flatnonzero(ours["labels"][n] >= 0):
            k = ours["labels"][n][i]
            there = boxes[n] if boxes.ndim == 3 else boxes[n][:, k]
            off = np.maximum(np.abs(there - ours["boxes"][n][i]).max(-1) / side,
                             np.abs(scores[n][:, k] - ours["scores"][n][i]))
            rows += 1
            missing += off.min() > 1e-4
            if off.min() <= 1e-4:
                worst.append(float(off.min()))
    print(f"    decode=no, batch {len(scores)}: {rows} objects, {missing} that the heads do not say")
    return "" if rows and missing <= 0.01 * rows else f"decode=no: {missing} of {rows} objects are not what the heads say"
