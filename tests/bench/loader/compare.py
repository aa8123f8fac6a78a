"""cvrun's data path against torchvision's, on the same pictures and cores, in turn.

    python3 compare.py LOADER_BENCH FOLDER [ROUNDS] [SECONDS]

RandomResizedCrop(224), RandomHorizontalFlip, Normalize to f32 batches of 64, by
  cvrun    loader_bench
  pil      ImageFolder with PIL, v2 transforms on PIL pictures, then ToImage and ToDtype
  tensor   decode_jpeg and v2 transforms on uint8 tensors
each with one worker in the process (one thread, one core) and with two workers (cvrun: threads; DataLoader: processes).
First, Resize(256) and CenterCrop(224) of all three are compared: the largest and the mean difference in levels.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
bench, folder = sys.argv[1], sys.argv[2]
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 2.0
FLOAT, NORMAL = v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)


def tensor_loader(path):
    return decode_jpeg(read_file(path), mode=ImageReadMode.RGB)


def data(kind, geometry):
    if kind == "pil":
        return ImageFolder(folder, transform=v2.Compose(geometry + [v2.ToImage(), FLOAT, NORMAL]))
    return ImageFolder(folder, transform=v2.Compose(geometry + [FLOAT, NORMAL]), loader=tensor_loader)


def one(kind, workers):
    """Images per second of a DataLoader: whole epochs for at least `seconds`, after one that warms up."""
    torch.set_num_threads(1)
    geometry = [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]
    loader = DataLoader(data(kind, geometry), batch_size=64, shuffle=True, num_workers=workers,
                        persistent_workers=workers > 0)

    def epoch():
        return sum(len(labels) for _, labels in loader)

    epoch()
    n, start = 0, time.perf_counter()
    while n == 0 or time.perf_counter() - start < seconds:
        n += epoch()
    print(n / (time.perf_counter() - start))


def rate(kind, workers):
    """Measured in a process of its own, so that no side finds memory or files as another has left them."""
    cores = {sorted(os.sched_getaffinity(0))[-1]} if workers == 0 else os.sched_getaffinity(0)
    command = [bench, folder, str(workers), str(seconds)]
    if kind != "cvrun":
        command = [sys.executable, __file__, bench, folder, str(rounds), str(seconds), kind, str(workers)]
    out = subprocess.run(command, check=True, capture_output=True, text=True,
                         preexec_fn=lambda: os.sched_setaffinity(0, cores))
    return float(out.stdout)


def compare_pictures():
    with tempfile.NamedTemporaryFile() as f:
        subprocess.run([bench, folder, "0", "0", "val", "dump=" + f.name], check=True)
        levels = numpy.fromfile(f.name, dtype=numpy.uint8).reshape(-1, 224, 224, 3)
        mine = (levels.astype(numpy.float32) / 255 - numpy.array(MEAN, numpy.float32)) / numpy.array(STD, numpy.float32)
    for kind in ("tensor", "pil"):
        most, total = 0.0, 0.0
        for i, (x, _) in enumerate(data(kind, [v2.Resize(256), v2.CenterCrop(224)])):
            d = numpy.abs(x.permute(1, 2, 0).numpy() - mine[i]) * numpy.array(STD, numpy.float32) * 255
            most, total = max(most, float(d.max())), total + float(d.mean())
        print(f"Resize(256), CenterCrop(224) against {kind}: at most {most:.2f} levels apart, {total / len(mine):.4f} on average")
        if kind == "tensor" and most > 2.01:
            sys.exit("the pictures are not the same")


def main():
    if len(sys.argv) > 6:
        one(sys.argv[5], int(sys.argv[6]))
        return
    compare_pictures()
    print(f"{'workers':8} {'':8} {'images/s':>9} {'spread':>15} {'per core':>9} {'cvrun is':>9} {'spread':>13}")
    for workers in (0, 2):
        rates = {"pil": [], "tensor": [], "cvrun": []}
        for _ in range(rounds):
            for k, r in rates.items():
                r.append(rate(k, workers))
        for k, r in rates.items():
            m = statistics.median(r)
            ratio = [a / b for a, b in zip(rates["cvrun"], r)]
            print(f"{workers or 'none':<8} {k:8} {m:9.0f} {min(r):7.0f}-{max(r):<7.0f} {m / max(workers, 1):9.0f} "
                  f"{statistics.median(ratio):8.2f}x {min(ratio):6.2f}-{max(ratio):<6.2f}")


if __name__ == "__main__":
    main()
