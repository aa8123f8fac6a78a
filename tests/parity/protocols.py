"""How segmentation is measured, held against torch: protocols, windows, mirrored pictures, sizes.

    protocols.py CVRUN RUN_DIR VOC

RUN_DIR is a run of lraspp_mobilenet_v3_large (data.format = voc, mean and std imagenet), VOC the folder of its pictures. For each protocol
`cvrun val --json` is compared with the same weights in torchvision's model, evaluated here by torchvision's and mmsegmentation's rules:
transforms.v2's resize (antialiased, u8), the window grid, logits averaged over windows, softmax over views, F.interpolate. Checked: pixel
accuracy and mIoU within 0.0005, as a few pixels lie on a tie of rounding in u8.
"""
import json, pathlib, subprocess, sys
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torchvision.models.segmentation import lraspp_mobilenet_v3_large
from torchvision.transforms import v2

CASES = [
    dict(size=200, original=False),
    dict(size=200, original=True),
    dict(size=200, original=True, flip=True),
    dict(size=200, original=True, scales=(0.75, 1, 1.5)),
    dict(size=240, original=True, window=160, stride=107),
    dict(size=240, original=False, window=160, stride=120, flip=True, scales=(1, 1.25)),
]


def network(run):
    weights = load_file(run / "weights/last.safetensors")
    net = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21)
    net.load_state_dict(weights, strict=True)
    return net.eval()


def whole(net, x):
    return net(x)["out"]


def windows(net, x, crop, stride):
    """mmsegmentation's slide_inference."""
    h, w = x.shape[2:]
    total, times = torch.zeros(1, 21, h, w), torch.zeros(1, 1, h, w)
    for i in range(max(h - crop + stride - 1, 0) // stride + 1):
        for k in range(max(w - crop + stride - 1, 0) // stride + 1):
            bottom, right = min(i * stride + crop, h), min(k * stride + crop, w)
            part = np.s_[:, :, max(bottom - crop, 0) : bottom, max(right - crop, 0) : right]
            total[part] += whole(net, x[part])
            times[part] += 1
    return total / times


def normalised(levels):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((levels.float() / 255 - mean[:, None, None]) / std[:, None, None])[None]


def answer(net, picture, case, size):
    """The classes of a picture's pixels, at a size."""
    total = 0
    for scale in case.get("scales", (1,)):
        x = picture
        if scale != 1:
            shape = [int(s * scale + 0.5) for s in picture.shape[1:]]
            x = F.interpolate(picture[None].float(), shape, mode="bilinear", align_corners=False)[0].round()
        for mirror in (False, True) if case.get("flip") else (False,):
            y = normalised(x.flip(2) if mirror else x)
            logits = windows(net, y, case["window"], case["stride"]) if "window" in case else whole(net, y)
            logits = logits.flip(3) if mirror else logits
            total = total + F.interpolate(logits, size, mode="bilinear", align_corners=False).softmax(1)
    return total[0].argmax(0)


def measured(net, voc, case):
    matrix = np.zeros((21, 21), np.int64)
    for name in (voc / "ImageSets/Segmentation/val.txt").read_text().split():
        picture = torch.from_numpy(np.array(Image.open(voc / f"JPEGImages/{name}.jpg").convert("RGB"))).permute(2, 0, 1)
        mask = torch.from_numpy(np.array(Image.open(voc / f"SegmentationClass/{name}.png"))).long()
        small = v2.functional.resize(picture, [case["size"]], antialias=True)
        if not case["original"]:
            mask = v2.functional.resize(mask[None], [case["size"]], interpolation=v2.InterpolationMode.NEAREST)[0]
        said = answer(net, small, case, mask.shape)
        counts = mask < 21
        matrix += np.bincount((mask[counts] * 21 + said[counts]).numpy(), minlength=441).reshape(21, 21)
    with np.errstate(invalid="ignore"):
        iou = np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))
    return np.diag(matrix).sum() / matrix.sum(), np.nanmean(iou), int(np.isnan(iou).sum())


def settings(case):
    out = [f"val.resize_size={case['size']}", f"val.protocol={'original' if case['original'] else 'resized'}", "data.shapes=8"]
    out += [f"val.crop_size={case['window']}", f"val.stride={case['stride']}"] if "window" in case else ["val.crop_size=0"]
    out += ["val.flip=yes"] if case.get("flip") else []
    return out + [f"val.scales={','.join(map(str, case['scales']))}"] if "scales" in case else out


def main():
    cvrun, run, voc = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    net, bad = network(run), 0
    for case in CASES:
        got = json.loads(subprocess.run([cvrun, "val", "--json", run, f"weights={run}/weights/last.safetensors", "train.batch=1", *settings(case)], check=True, capture_output=True).stdout)
        with torch.no_grad():
            accuracy, miou, absent = measured(net, voc, case)
        ok = abs(got["pixel_accuracy"] - accuracy) < 0.0005 and abs(got["miou"] - miou) < 0.0005 and got["absent_classes"]["iou"] == absent
        bad += not ok
        print(f"{got['protocol']:90} accuracy {got['pixel_accuracy']:.5f} {accuracy:.5f}  mIoU {got['miou']:.5f} {miou:.5f}  absent {absent}  {'ok' if ok else 'BAD'}")
    sys.exit(bad != 0)


main()
