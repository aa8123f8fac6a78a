"""Training steps of cvrun and of PyTorch in turn, as a table of ratios; see the script against_pytorch.

Every measurement is a process of its own: cvrun on its random pictures (data.format=fake), PyTorch on one random batch
in each of its modes, the best of which counts. Speed is the median over the steps after the first ones; memory is the
process's peak. Whether both learn the same is what tests/parity/models.py and loss_curves.py show."""
import argparse, csv, json, os, pathlib, statistics, subprocess, sys, tempfile, time

# name: (cvrun's model, its settings, torch's model, batch, picture size, channels)
CASES = {
    "resnet50": ("resnet50", "", "resnet50", 32, 224, 3),
    "resnet18_cifar": ("resnet18_cifar", "", "resnet18_cifar", 128, 32, 3),
    "vgg16": ("vgg16", "", "vgg16", 16, 224, 3),
    "small_cnn": (None, "", "small_cnn", 128, 28, 1),
    "mobilenet_v2": ("mobilenet_v2", "", "mobilenet_v2", 32, 224, 3),
    "vit_b_16": ("vit_b_16", "", "vit_b_16", 16, 224, 3),
    "convnext_tiny": ("convnext_tiny", "", "convnext_tiny", 16, 224, 3),
}
SMALL_CNN = """[net]
c1 = conv2d 32 kernel_size=3
r1 = relu
c2 = conv2d 64 kernel_size=3
r2 = relu
p = max_pool2d 2
f = flatten
l1 = linear 128
r3 = relu
l2 = linear 10
"""
MODES = {"f32": ["nchw", "channels_last", "compile"], "bf16": ["nchw", "channels_last", "compile"]}
SKIPPED = 3  # first steps, which warm up


def recipe(case, precision, steps, folder):
    model, settings, _, batch, size, channels = CASES[case]
    text = f"[run]\ntask = classify\nproject = {folder}\n[backend]\nprecision = {precision}\n"
    text += f"[model]\nin_channels = {channels}\n" + (f"name = {model}\n{settings}" if model else SMALL_CNN)
    text += f"[data]\nformat = fake\nsize = {batch * steps}\nimg_size = {size}\n"
    return text + f"[train]\nepochs = 1\nbatch = {batch}\n[val]\ninterval = 0\n[optim]\nname = sgd\nlr = 0.01\nmomentum = 0.9\n"


def run_child(command):
    """The process's output and its peak memory in bytes."""
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        out.seek(0)
        text = out.read()
    if status != 0:
        sys.exit(f"{' '.join(command)} failed:\n{text[-2000:]}")
    return text, usage.ru_maxrss * 1024


def ours(cvrun, case, precision, steps):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "recipe.ini")
        path.write_text(recipe(case, precision, steps, folder))
        _, peak = run_child([cvrun, "train", str(path)])
        rows = list(csv.DictReader(open(next(pathlib.Path(folder).rglob("steps.csv")))))
    return statistics.median(float(r["images_per_s"]) for r in rows[SKIPPED:]), peak


def theirs(case, precision, mode, steps):
    text, peak = run_child([sys.executable, __file__, "--child", case, precision, mode, str(steps)])
    return json.loads(text.splitlines()[-1])["images_per_s"], peak


def torch_model(name, classes):
    import torch, torchvision

    if name == "small_cnn":
        n = torch.nn
        return n.Sequential(n.Conv2d(1, 32, 3), n.ReLU(), n.Conv2d(32, 64, 3), n.ReLU(), n.MaxPool2d(2), n.Flatten(),
                            n.Linear(9216, 128), n.ReLU(), n.Linear(128, classes))
    model = getattr(torchvision.models, name.removesuffix("_cifar"))(num_classes=classes)
    if name.endswith("_cifar"):
        model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        model.maxpool = torch.nn.Identity()
    return model


def child(case, precision, mode, steps):
    import torch

    _, _, name, batch, size, channels = CASES[case]
    torch.set_num_threads(os.cpu_count())
    torch.set_flush_denormal(True)
    layout = torch.contiguous_format if mode == "nchw" else torch.channels_last
    model = torch_model(name, 10).to(memory_format=layout)
    x = torch.randn(batch, channels, size, size).to(memory_format=layout)
    y = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    forward = torch.compile(model) if mode == "compile" else model
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(forward(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    print(json.dumps({"images_per_s": batch / statistics.median(times[SKIPPED:])}))


def compare(cvrun, case, precision, rounds, steps):
    mine, other, memory = [], {m: [] for m in MODES[precision]}, {}
    for _ in range(rounds):
        speed, memory["cvrun"] = ours(cvrun, case, precision, steps)
        mine.append(speed)
        for mode in other:
            speed, memory[mode] = theirs(case, precision, mode, steps)
            other[mode].append(speed)
    best = max(other, key=lambda m: statistics.median(other[m]))
    ratios = sorted(a / b for a, b in zip(mine, other[best]))
    print(f"{case:16} {precision:5} {statistics.median(mine):9.2f} {statistics.median(other[best]):9.2f} {best:14}"
          f" {statistics.median(ratios):6.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})"
          f" {memory['cvrun'] / 1e6:8.0f} {memory[best] / 1e6:8.0f} {memory['cvrun'] / memory[best]:6.2f}", flush=True)


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--child":
        return child(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cvrun")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", choices=["f32", "bf16"])
    parser.add_argument("cases", nargs="*", metavar="CASE")
    args = parser.parse_intermixed_args()
    for case in args.cases:
        if case not in CASES:
            parser.error(f"no case {case}; there are {', '.join(CASES)}")
    print("                           images/s of                       ratio of speed        peak MB of   ratio of")
    print("case             prec      cvrun   PyTorch, its best mode    median (range)      cvrun  PyTorch memory")
    for case in args.cases or CASES:
        for precision in [args.precision] if args.precision else ["f32", "bf16"]:
            compare(args.cvrun, case, precision, args.rounds, args.steps)


if __name__ == "__main__":
    main()
