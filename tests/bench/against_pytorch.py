"""Training steps, or inference, of cvrun and of PyTorch in turn, as a table of ratios; see the script against_pytorch.

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


def recipe(case, options, precision, folder):
    model, settings, _, _, size, channels = CASES[case]
    batch = options.batch or CASES[case][3]
    text = f"[run]\ntask = classify\nproject = {folder}\n[backend]\nprecision = {precision}\n"
    text += f"[model]\nin_channels = {channels}\n" + (f"name = {model}\n{settings}" if model else SMALL_CNN)
    text += f"[data]\nformat = fake\nsize = {batch * options.steps}\nimg_size = {size}\n"
    text += f"[train]\nepochs = 1\nbatch = {batch}\nmemory = {options.memory}\n"
    return text + f"[val]\ninterval = {int(options.inference)}\n[optim]\nname = sgd\nlr = 0.01\nmomentum = 0.9\n"


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


def ours(case, options, precision):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "recipe.ini")
        path.write_text(recipe(case, options, precision, folder))
        if options.inference:
            text, peak = run_child([options.cvrun, "bench", str(path), "--inference", "--json"])
            return json.loads(text[text.index("{"):])["images_per_s"], peak
        _, peak = run_child([options.cvrun, "train", str(path)])
        rows = list(csv.DictReader(open(next(pathlib.Path(folder).rglob("steps.csv")))))
    return statistics.median(float(r["images_per_s"]) for r in rows[SKIPPED:]), peak


def theirs(case, options, precision, mode):
    batch = options.batch or CASES[case][3]
    words = [case, precision, mode, str(options.steps), str(batch), str(int(options.inference))]
    text, peak = run_child([sys.executable, __file__, "--child", *words])
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


def child(case, precision, mode, steps, batch, inference):
    import torch

    _, _, name, _, size, channels = CASES[case]
    torch.set_num_threads(os.cpu_count())
    torch.set_flush_denormal(True)
    layout = torch.contiguous_format if mode == "nchw" else torch.channels_last
    model = torch_model(name, 10).to(memory_format=layout)
    x = torch.randn(batch, channels, size, size).to(memory_format=layout)
    y = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    forward = torch.compile(model) if mode == "compile" else model
    times = []
    if inference:
        model.eval()
    for _ in range(steps):
        start = time.perf_counter()
        if inference:
            with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                forward(x)
            times.append(time.perf_counter() - start)
            continue
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(forward(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    print(json.dumps({"images_per_s": batch / statistics.median(times[SKIPPED:])}))


def compare(case, options, precision):
    mine, other, memory = [], {m: [] for m in MODES[precision]}, {}
    for _ in range(options.rounds):
        speed, memory["cvrun"] = ours(case, options, precision)
        mine.append(speed)
        for mode in other:
            speed, memory[mode] = theirs(case, options, precision, mode)
            other[mode].append(speed)
    best = max(other, key=lambda m: statistics.median(other[m]))
    ratios = sorted(a / b for a, b in zip(mine, other[best]))
    print(f"{case:16} {precision:5} {statistics.median(mine):9.2f} {statistics.median(other[best]):9.2f} {best:14}"
          f" {statistics.median(ratios):6.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})"
          f" {memory['cvrun'] / 1e6:8.0f} {memory[best] / 1e6:8.0f} {memory['cvrun'] / memory[best]:6.2f}", flush=True)


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--child":
        return child(*sys.argv[2:5], *map(int, sys.argv[5:8]))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cvrun")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", choices=["f32", "bf16"])
    parser.add_argument("--batch", type=int, help="in place of the case's own")
    parser.add_argument("--memory", default="", help="train.memory, such as 1.7G: activations are computed twice")
    parser.add_argument("--inference", action="store_true", help="the network as evaluation runs it")
    parser.add_argument("cases", nargs="*", metavar="CASE")
    args = parser.parse_intermixed_args()
    if args.steps <= SKIPPED:
        parser.error(f"--steps {args.steps}: the first {SKIPPED} only warm up; give more")
    for case in args.cases:
        if case not in CASES:
            parser.error(f"no case {case}; there are {', '.join(CASES)}")
    print("                           images/s of                       ratio of speed        peak MB of   ratio of")
    print("case             prec      cvrun   PyTorch, its best mode    median (range)      cvrun  PyTorch memory")
    for case in args.cases or CASES:
        for precision in [args.precision] if args.precision else ["f32", "bf16"]:
            compare(case, args, precision)


if __name__ == "__main__":
    main()
