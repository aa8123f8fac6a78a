#!/usr/bin/env python3
"""cvrun prune beside Torch-Pruning (PyPI torch-pruning, MIT): the same weights, criterion and share of the MACs.

Takes the folder of compress_picture.py. Its trained ResNet-8 is loaded into PyTorch, pruned there by the sum of
magnitudes over all weights of a group to the same share of MACs, batch norms take their statistics anew on 2048
training pictures, as in cvrun, and the 10,000 of validation are looked at before anything is trained further. Times
are of 32 pictures with two threads, the least median of some turns. Writes FOLDER/torch.json.

    tests/bench/prune_against_torch.py FOLDER
"""
import copy
import gzip
import json
import pathlib
import statistics
import sys
import time

try:
    import numpy as np
    import torch
    import torch_pruning as tp
    from safetensors.torch import load_file
except ImportError as e:
    print(f"left out: {e}; pip install torch numpy safetensors torch-pruning")
    sys.exit(77)
from torch import nn
from torch.nn import functional as F

DATA = pathlib.Path("/usr/share/datasets/fashion-mnist")
MEAN, STD, WIDTH = 0.286, 0.353, 16


class Block(nn.Module):
    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        same = before == channels and stride == 1
        self.downsample = None if same else nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class ResNet8(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, WIDTH, 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTH)
        self.layer1 = nn.Sequential(Block(WIDTH, WIDTH, 1))
        self.layer2 = nn.Sequential(Block(WIDTH, 2 * WIDTH, 2))
        self.layer3 = nn.Sequential(Block(2 * WIDTH, 4 * WIDTH, 2))
        self.fc = nn.Linear(4 * WIDTH, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.fc(x.mean((2, 3)))


def pictures(which):
    x = np.frombuffer(gzip.open(DATA / f"{which}-images-idx3-ubyte.gz").read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    y = np.frombuffer(gzip.open(DATA / f"{which}-labels-idx1-ubyte.gz").read(), np.uint8, offset=8)
    return (torch.from_numpy(x.astype(np.float32)) / 255 - MEAN) / STD, torch.from_numpy(y.astype(np.int64))


def statistics_anew(net, x):
    """The mean over batches of what they have, as cvrun gathers it: in training mode, with nothing learned."""
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.reset_running_stats()
            m.momentum = None
    net.train()
    with torch.no_grad():
        for i in range(0, len(x), 32):
            net(x[i:i + 32])
    net.eval()


def top1(net, x, y):
    with torch.no_grad():
        right = sum((net(x[i:i + 500]).argmax(1) == y[i:i + 500]).sum().item() for i in range(0, len(x), 500))
    return right / len(x)


def milliseconds(net, x):
    best = float("inf")
    net = copy.deepcopy(net).to(memory_format=torch.channels_last)
    x = x[:32].to(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in range(5):
            took = []
            for _ in range(25):
                start = time.perf_counter()
                net(x)
                took.append(1000 * (time.perf_counter() - start))
            best = min(best, statistics.median(took[5:]))
    return best


def macs(net, one):
    return tp.utils.count_ops_and_params(net, one)[0]


def prune_to(net, share, one):
    """The least ratio of channels by which no more than this share of the MACs is left."""
    whole, low, high, best = macs(net, one), 0.0, 0.9, None
    for _ in range(7):
        ratio, narrow = (low + high) / 2, copy.deepcopy(net)
        tp.pruner.BasePruner(narrow, one, importance=tp.importance.GroupMagnitudeImportance(p=1), pruning_ratio=ratio, round_to=4,
                             ignored_layers=[narrow.fc]).step()
        if macs(narrow, one) > share * whole:
            low = ratio
        else:
            high, best = ratio, narrow
    return best


def widths(net):
    return [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)]


def main():
    folder = pathlib.Path(sys.argv[1])
    points = json.loads((folder / "points.json").read_text())
    torch.set_num_threads(1)  # tracing is many small calls
    train, _ = pictures("train")
    x, y = pictures("t10k")
    net = ResNet8()
    net.load_state_dict(load_file(pathlib.Path(points["float"]["run"]) / "weights/best.safetensors"))
    net.eval()
    found = {"float": net}
    for share in (0.7, 0.5, 0.3):
        narrow = prune_to(net, share, x[:1])
        statistics_anew(narrow, train[::len(train) // 2048][:2048])
        found[f"{share} of the MACs"] = narrow
    torch.set_num_threads(2)
    out = {}
    print(f"{'':20} {'cvrun: MMACs':>13} {'ms, 32':>8} {'top-1':>8}   {'PyTorch: MMACs':>15} {'ms, 32':>8} {'top-1':>8}  widths")
    for name, n in found.items():
        ours = points.get(name, {})
        t = out[name] = {"macs": macs(n, x[:1]), "ms": milliseconds(n, x), "top1": top1(n, x, y)}
        known = f"{ours['macs'] / 1e6:13.2f} {ours['ms']:8.2f} {ours.get('untrained', ours['top1']):8.4f}" if "ms" in ours else " " * 31
        print(f"{name:20} {known}   {t['macs'] / 1e6:15.2f} {t['ms']:8.2f} {t['top1']:8.4f}  {widths(n)}", flush=True)
    (folder / "torch.json").write_text(json.dumps(out, indent=1) + "\n")


main()
