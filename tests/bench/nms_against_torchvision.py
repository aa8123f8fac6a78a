"""Times torchvision.ops.nms and cvrun's kernel on the same boxes, round by round, and holds the kept rows of one against the other's.

Boxes as detectors make them: clusters about the same objects, of which about 1,000 survive (`clusters`); boxes that lie apart, so that none is
suppressed (`apart`); boxes strewn at random over a picture (`strewn`). Speed is each side's fastest call of a round, the ratio the median over the
rounds."""
import argparse, pathlib, statistics, subprocess, tempfile, time

import numpy as np
import torch
import torchvision

torch.set_num_threads(1)


def clusters(n, g):
    objects = n // 10
    centre, size = torch.rand(objects, 2, generator=g) * 4000, torch.rand(objects, 2, generator=g) * 60 + 30
    which = torch.arange(n) % objects
    centre = centre[which] + torch.randn(n, 2, generator=g) * size[which] * 0.05
    size = size[which] * (1 + 0.05 * torch.randn(n, 2, generator=g))
    return torch.cat([centre - size / 2, centre + size / 2], 1)


def apart(n, g):
    side = int(n ** 0.5) + 1
    cell = torch.arange(n)
    corner = torch.stack([cell % side, cell // side], 1) * 10.0
    return torch.cat([corner, corner + torch.rand(n, 2, generator=g) * 4 + 5], 1)


def strewn(n, g):
    corner = torch.rand(n, 2, generator=g) * 1000
    return torch.cat([corner, corner + torch.rand(n, 2, generator=g) * 300], 1)


def best_of(call, seconds):
    best, start = float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - start < seconds:
        t = time.perf_counter()
        kept = call()
        best = min(best, time.perf_counter() - t)
    return best, kept


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("program")
    p.add_argument("--boxes", type=int, default=10000)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=0.5)
    p.add_argument("--isa")
    o = p.parse_args()
    print(f"{'boxes':10}{'kept':>8}{'torchvision ms':>16}{'cvrun ms':>10}{'ratio':>8}  {'rounds':24} on")
    for make, threshold in ((clusters, 0.5), (apart, 0.5), (strewn, 0.5), (strewn, 0.3), (strewn, 0.7)):
        g = torch.Generator().manual_seed(1)
        boxes, scores = make(o.boxes, g), torch.rand(o.boxes, generator=g)
        times, machine = [], ""
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "boxes"
            file.write_bytes(boxes.numpy().astype(np.float32).tobytes() + scores.numpy().tobytes())
            for _ in range(o.rounds):
                theirs, kept = best_of(lambda: torchvision.ops.nms(boxes, scores, threshold), o.seconds)
                more = ["--isa", o.isa] if o.isa else []
                words = subprocess.run([o.program, file, str(threshold), "--seconds", str(o.seconds), *more], check=True,
                                       capture_output=True, text=True).stdout.split()
                machine, ours = words[0], float(words[1])
                assert [int(w) for w in words[2:]] == kept.tolist(), f"{make.__name__} {threshold}: other rows are kept"
                times.append((theirs, ours))
        ratios = [a / b for a, b in times]
        theirs, ours = (statistics.median(t) * 1e3 for t in zip(*times))
        print(f"{make.__name__ + ' ' + str(threshold):10}{len(kept):8}{theirs:16.2f}{ours:10.3f}{statistics.median(ratios):8.1f}  "
              f"{' '.join(f'{r:.1f}' for r in ratios):24} {machine}")


if __name__ == "__main__":
    main()
