"""Training steps, or inference, of cvrun and of PyTorch in turn, as a table of ratios; see the script against_pytorch.

Precisions: f32 and bf16 of both sides, and cvrun's bf16x3 against PyTorch's f32; where none is named, f32 and bf16, and bf16x3 too on a
processor with AMX, which alone it is for.

Equality first: before a case is timed, both sides train on one small batch from the same weights. A row is marked PARTED, and its
speed does not count, where a step's loss differs by more than the bound of its precision or a third of what the loss moves by; in
bf16 twice what PyTorch in bf16 differs from itself in f32 is allowed where that is more. Where it is more than the loss moves by, no
difference could show, and that is said. The last column has the largest difference.

Every measurement is a process of its own: cvrun on its random pictures (data.format=fake), PyTorch on one random batch in each of its
modes. The first round runs all modes; those within 15 % of the best run in the others too, and the best by its median counts. A mode
that fails is told and does not count. Speed is the median over the steps after the first ones, the ratio that of a round: both
sides one after the other. Detectors learn from scenes (data.format=scenes) and from five random boxes a picture; that they compute
the same is shown by tests/parity/detectors.py, detectors_two.py, yolox_nets.py and darknet_network.py (whose networks are YOLOX and YOLOv3-tiny here), and
torch.compile, which breaks their graphs, is not tried. Below YOLOv3-tiny's rows stands the speed of Debian's `darknet`, where there is one: darknet_program.py. Memory is the process's peak (of inference by cvrun: before the peaks of the machine are measured), and in
the column "steps" less what there was before the first step."""
import argparse, copy, csv, json, os, pathlib, re, statistics, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "parity"))
import darknet_program

THREADS = 2
SKIPPED = 3  # first steps, which warm up
CLASSES = 10
MODES = ["nchw", "channels_last", "compile"]
CLOSE = 0.85  # of the best mode's speed: worth another round
CHECK_BATCH, CHECK_STEPS = 8, 6
BOUNDS = {"f32": 1e-3, "bf16": 2e-2, "bf16x3": 1e-3}  # of a loss, relative; see tests/parity/loss_curves.py for longer curves

# name: model, batch, picture size, and what differs from a training case of three channels. `check` is the size of the pictures
# that both learn from first, `lr` at which rate (small enough for rounding not to be blown up), `plain` what turns chance off.
CASES = {
    "small_cnn": dict(model="small_cnn", batch=128, size=28, channels=1, check=28, lr=0.01),
    "resnet18_cifar": dict(model="resnet18_cifar", batch=128, size=32, check=32),
    "resnet18": dict(model="resnet18", batch=32, size=224, check=64, lr=0.00005),
    "resnet50": dict(model="resnet50", batch=32, size=224, check=64, lr=5e-8),
    "resnet50_infer_1": dict(model="resnet50", batch=1, size=224, inference=True),
    "resnet50_infer_32": dict(model="resnet50", batch=32, size=224, inference=True),
    "vgg16": dict(model="vgg16", batch=16, size=224, check=64, lr=0.01, plain="dropout = 0"),
    "mobilenet_v2": dict(model="mobilenet_v2", batch=32, size=224, check=64, lr=0.000005, plain="dropout = 0"),
    "vit_b_16": dict(model="vit_b_16", batch=16, size=224, check=64),
    "convnext_tiny": dict(model="convnext_tiny", batch=16, size=224, check=64, plain="drop_path = 0"),
    "unet": dict(model="unet", batch=8, size=128, check=64, task="segment"),
    "ssd300_vgg16": dict(model="ssd300_vgg16", batch=8, size=300, task="detect"),
    "fasterrcnn_320": dict(model="fasterrcnn_mobilenet_v3_large_320_fpn", batch=8, size=320, task="detect", more="norm = batch\n"),
    "yolox_s": dict(model="yolox_s", batch=8, size=416, task="detect"),
    "yolox_s_infer": dict(model="yolox_s", batch=8, size=416, task="detect", inference=True),
    "yolov3_tiny": dict(model="yolov3-tiny.cfg", batch=8, size=416, task="detect"),
    "yolov3_tiny_infer": dict(model="yolov3-tiny.cfg", batch=8, size=416, task="detect", inference=True),
    "ssd300_infer": dict(model="ssd300_vgg16", batch=8, size=300, task="detect", inference=True),
    "fasterrcnn_320_infer": dict(model="fasterrcnn_mobilenet_v3_large_320_fpn", batch=8, size=320, task="detect", more="norm = batch\n", inference=True),
    "deeplabv3_resnet50": dict(model="deeplabv3_resnet50", batch=4, size=224, check=64, lr=5e-6, task="segment", plain="dropout = 0\ndropout_aux = 0"),
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
l2 = linear num_classes
"""


def has_amx():
    return "amx_bf16" in pathlib.Path("/proc/cpuinfo").read_text().split()


def precisions_of(options):
    return [options.precision] if options.precision else [p for p in BOUNDS if p != "bf16x3" or has_amx()]


def case_of(name, options):
    case = {"channels": 3, "inference": False, "task": "classify", "plain": "", "more": "", "check": 64, "lr": 0.0002, **CASES[name]}
    case["batch"] = options.batch or case["batch"]
    case["inference"] |= options.inference
    return case


# ---- processes ----


class Failed(Exception):
    pass


def run_child(command):
    """The process's output and its peak memory in bytes."""
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen([str(word) for word in command], stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if status != 0:
        raise Failed(text)
    return text, usage.ru_maxrss * 1024


def time_to_first_step(command):
    """Seconds from the process's start to the line that tells of its first step."""
    start = time.perf_counter()
    child = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    took, text = None, ""
    for line in child.stdout:
        text += line
        if "first step done" in line and took is None:
            took = time.perf_counter() - start
    if child.wait() != 0 or took is None:
        raise Failed(text)
    return took


# ---- cvrun ----


def rate(case):
    """At which what is timed learns: detectors with random weights would soon have no numbers left."""
    return 1e-5 if case["task"] == "detect" else 0.01


def recipe(case, steps, precision, memory="", more=""):
    model = "" if case["model"] == "small_cnn" else f"name = {case['model']}\n"
    masks = "masks = yes\n" if case["task"] == "segment" else ""
    text = f"[run]\ntask = {case['task']}\n[backend]\nprecision = {precision}\nthreads = {THREADS}\n"
    text += f"[model]\nin_channels = {case['channels']}\n{model}{case['more']}{more}" + ("" if model else SMALL_CNN)
    pictures, fields = case["batch"] * steps, "label" if case["inference"] else "boxes"  # without boxes there is no loss to compute
    made_up = f"fake\nclasses = {CLASSES}\nsize = {pictures}" if case["task"] != "detect" else f"scenes\nfields = {fields}\ntrain_size = {pictures}\nval_size = {pictures}"
    text += f"[data]\nformat = {made_up}\nimg_size = {case['size']}\n{masks}"
    text += f"[train]\nepochs = 1\nbatch = {case['batch']}\nmemory = {memory}\n"
    return text + f"[val]\ninterval = {int(case['inference'])}\n[optim]\nname = sgd\nlr = {rate(case)}\nmomentum = 0.9\n"


def network_file(case, folder):
    """Where the network is one of Darknet's: its file, in this folder. Returns the file."""
    path = pathlib.Path(folder, case["model"])
    if path.suffix == ".cfg":
        darknet_program.write_cfg(path, case["size"], case["batch"], CLASSES)
    return path


def ours(case, options, precision):
    """images/s, peak memory, and what there was before the first step (a run of no epochs)."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "recipe.ini")
        path.write_text(recipe(case, options.steps, precision, options.memory))
        network_file(case, folder)
        if case["inference"]:
            text, _ = run_child([options.cvrun, "bench", path, "--inference", "--json"])
            found = json.loads(text[text.index("{"):])
            return found["images_per_s"], found["peak_memory_bytes"], found["start_memory_bytes"]
        run = [options.cvrun, "train", path, f"run.project={folder}"]
        _, before = run_child([*run, "name=before", "epochs=0"])
        _, peak = run_child([*run, "name=run"])
        rows = list(csv.DictReader(open(next(pathlib.Path(folder).glob("*/run/steps.csv")))))
    return statistics.median(float(r["images_per_s"]) for r in rows[SKIPPED:]), peak, before


# ---- PyTorch ----


def memory(key):
    """Bytes of a line of /proc/self/status."""
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(key))


def detector(case):
    """A detector, a batch's pictures, and a function of these that gives the loss, or detections."""
    import torch, torchvision

    corner, side = torch.rand(case["batch"], 5, 2) * case["size"] / 2, (torch.rand(case["batch"], 5, 2) * 0.4 + 0.1) * case["size"]
    boxes, labels = torch.cat([corner, corner + side], 2), torch.randint(1, CLASSES + 1, (case["batch"], 5))
    targets = [{"boxes": b, "labels": c} for b, c in zip(boxes, labels)]
    x = torch.rand(case["batch"], case["channels"], case["size"], case["size"])
    if case["model"].startswith("yolox"):
        return yolox(case, x, boxes, labels - 1)
    if case["model"].endswith(".cfg"):
        return darknet(case, x, boxes, labels - 1)
    make = getattr(torchvision.models.detection, case["model"])
    model = make(weights=None, weights_backbone=None, num_classes=CLASSES + 1)
    return model, x, lambda x: sum(model(list(x), targets).values()) if model.training else model(list(x))


def yolox(case, x, boxes, labels):
    import torch, yolox_network

    model, counts = yolox_network.make(case["model"].removeprefix("yolox_"), CLASSES), torch.full((len(x),), 5)
    sizes = torch.tensor([x.shape[2:]] * len(x))

    def forward(x):
        said = [tuple(t.float() for t in maps) for maps in model(x)]  # losses are in f32 in both precisions
        return sum(yolox_network.losses(said, boxes, labels, counts, 0.0)[0].values()) if model.training else yolox_network.detections(said, sizes)

    return model, x * 255, forward


def darknet(case, x, boxes, labels):
    import torch, darknet_network

    with tempfile.TemporaryDirectory() as folder:
        model, counts = darknet_network.Network(network_file(case, folder), CLASSES), torch.full((len(x),), 5)

    def forward(x):
        said = [(head, t.float()) for head, t in model(x)]
        return sum(darknet_network.losses(said, boxes, labels, counts, x.shape[2:]).values()) if model.training else darknet_network.detections(said, x.shape[2:])

    return model, x, forward


def child(words):
    """One mode of one case, in this process: images/s, and memory before the first step."""
    import torch
    from networks import make
    from side_by_side import loss_of

    case, precision, mode, steps = json.loads(words[0]), words[1], words[2], int(words[3])
    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)
    layout = torch.contiguous_format if mode == "nchw" else torch.channels_last
    detects = case["task"] == "detect"
    if detects:
        model, x, forward = detector(case)
    else:
        model = make(case["model"], CLASSES, case["size"])
        x = torch.randn(case["batch"], case["channels"], case["size"], case["size"])
    model, x = model.to(memory_format=layout), x.to(memory_format=layout)
    y = torch.randint(0, CLASSES, (case["batch"], *([case["size"]] * 2 if case["task"] == "segment" else [])))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate(case), momentum=0.9)
    if not detects:
        forward = torch.compile(model) if mode == "compile" else model
    low = lambda: torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")

    def infer():
        with torch.inference_mode(), low():
            forward(x)

    def learn():
        with low():
            loss = forward(x) if detects else loss_of(forward(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model.train(not case["inference"])
    before, times = memory("VmHWM"), []
    for _ in range(steps):
        start = time.perf_counter()
        (infer if case["inference"] else learn)()
        times.append(time.perf_counter() - start)
        if len(times) == 1:
            print("first step done", flush=True)
    print(json.dumps({"images_per_s": case["batch"] / statistics.median(times[SKIPPED:] or times), "before": before}))


def child_command(case, precision, mode, steps):
    return [sys.executable, __file__, "--child", json.dumps(case), precision, mode, steps]


def theirs(case, options, precision, mode):
    text, peak = run_child(child_command(case, precision, mode, options.steps))
    found = json.loads(text.splitlines()[-1])
    return found["images_per_s"], peak, found["before"]


# ---- equality ----


def check(words):
    """The largest relative difference of a loss, and how much the loss moves, over a few steps of both from the same weights on the
    same batch; in a process of its own, since a child's peak memory starts at what its parent has, and this one has PyTorch."""
    import torch
    from networks import make, without_chance
    from side_by_side import differences, fake, save_weights, step_losses, torch_losses, train

    cvrun, case, precision = words[0], json.loads(words[1]), words[2]
    size, masks = case["check"], case["task"] == "segment"
    small = {**case, "batch": CHECK_BATCH, "size": size, "inference": False}
    torch.manual_seed(1)
    torch.set_num_threads(THREADS)
    net = without_chance(make(case["model"], CLASSES, size))
    x, y = fake(size, CHECK_BATCH, 0, CLASSES, case["channels"], masks)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        save_weights(net, folder / "start.safetensors")
        more = f"weights = {folder}/start.safetensors\n{case['plain']}\n"
        (folder / "recipe.ini").write_text(recipe(small, 1, precision, more=more))
        mine = step_losses(train(cvrun, folder / "recipe.ini", folder, "check", f"epochs={CHECK_STEPS}", f"lr={case['lr']}", "seed=0"))

    def learn(low):
        copied = copy.deepcopy(net)
        optimizer = torch.optim.SGD(copied.parameters(), lr=case["lr"], momentum=0.9)
        return torch_losses(copied, optimizer, [(x.float() / 255, y)] * CHECK_STEPS, low)

    other, exact = learn(precision == "bf16"), learn(False)
    found = {"difference": max(differences(mine, other)), "moved": (max(exact) - min(exact)) / exact[0]}
    rounding = max(differences(other, exact))  # what bf16 alone makes of it in PyTorch; 0 in f32
    bound = max(min(BOUNDS[precision], found["moved"] / 3), 2 * rounding)
    print(json.dumps(found | {"rounding": rounding, "bound": bound}))


def parting(case, options, precision):
    return json.loads(run_child([sys.executable, __file__, "--check", options.cvrun, json.dumps(case), precision])[0].splitlines()[-1])


# ---- a row ----


def failure(error):
    """The line of a traceback that says what is wrong, else the last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no output"]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Compiler|Failed)\w*: ", line)]
    return (named or lines)[-1][:150]


def compare(name, options, precision):
    case, failed = case_of(name, options), {}
    modes = {m: [] for m in MODES if case["task"] != "detect" or m != "compile"}
    mine = []
    for _ in range(options.rounds):
        mine.append(ours(case, options, precision))
        for mode in list(modes):
            try:
                modes[mode].append(theirs(case, options, precision, mode))
            except Failed as error:
                failed[mode] = failure(error)
                del modes[mode]
        fastest = max((statistics.median(r[0] for r in runs) for runs in modes.values()), default=0)
        modes = {m: runs for m, runs in modes.items() if statistics.median(r[0] for r in runs) >= CLOSE * fastest}
    row = {"case": name, "precision": precision, "batch": case["batch"], "size": case["size"], "inference": case["inference"], "failed": failed}
    if modes:
        best = max(modes, key=lambda m: statistics.median(r[0] for r in modes[m]))
        ratios = sorted(a[0] / b[0] for a, b in zip(mine, modes[best]))
        row |= {"mode": best, "ratios": ratios, "ratio": statistics.median(ratios)}
    for side, runs in {"cvrun": mine, "pytorch": modes.get(row.get("mode"))}.items():
        if runs:
            speeds, peak, before = zip(*runs)
            row[side] = {"images_per_s": list(speeds), "median": statistics.median(speeds), "peak_bytes": max(peak), "before_bytes": max(before)}
    return row


WIDTHS = [-17, -6, 9, 9, -14, 6, 14, 8, 8, 6, 8, 8, 6, 11]


def print_cells(*cells):
    print(" ".join(f"{c:<{-w}}" if w < 0 else f"{c:>{w}}" for c, w in zip(cells, WIDTHS)).rstrip(), flush=True)


def print_head():
    print_cells("", "", "images/s", "of", "", "ratio", "", "peak MB", "of", "", "steps' MB", "of", "", "largest")
    print_cells("case", "prec", "cvrun", "PyTorch", "its best mode", "median", "range", *["cvrun", "PyTorch", "ratio"] * 2, "difference")


def memory_cells(mine, other):
    return [f"{mine / 1e6:.0f}", f"{other / 1e6:.0f}", f"{mine / other:.2f}" if other > 0 else "-"]


def print_row(row):
    mine, other, difference = row["cvrun"], row.get("pytorch"), row["difference"]
    cells = [row["case"], row["precision"], f"{mine['median']:.2f}"]
    if other:
        steps = [side["peak_bytes"] - side["before_bytes"] for side in (mine, other)]
        cells += [f"{other['median']:.2f}", row["mode"], f"{row['ratio']:.2f}", f"{row['ratios'][0]:.2f}..{row['ratios'][-1]:.2f}"]
        cells += memory_cells(mine["peak_bytes"], other["peak_bytes"]) + memory_cells(*steps)
    else:
        cells += ["-", "none ran"] + ["-"] * 8
    print_cells(*cells, "-" if difference is None else f"{difference:.1e}")
    if not row["counts"]:
        print(f"  PARTED: the losses, which moved by {row['moved']:.1e}, differ by more than {row['bound']:.1e}; the speed does not count", flush=True)
    elif difference is not None and row["bound"] >= row["moved"]:
        print(f"  the check says little: {row['bound']:.1e} is allowed, and the loss moves by {row['moved']:.1e}", flush=True)
    for mode, why in row["failed"].items():
        print(f"  {mode} failed: {why}", flush=True)


def print_darknet(row):
    theirs, mine = row["darknet_images_per_s"], row["cvrun"]["median"]
    print("  no program `darknet` here" if theirs is None else f"  Debian's darknet: {theirs:.2f} images/s; cvrun is {mine / theirs:.1f} times as fast", flush=True)


def run_case(name, options, precision):
    case = case_of(name, options)
    checked = not (options.no_check or case["inference"] or case["task"] == "detect")
    equal = parting(case, options, precision) if checked else {"difference": None}
    row = compare(name, options, precision) | equal
    row["counts"] = not checked or equal["difference"] <= equal["bound"]
    print_row(row)
    if case["model"].endswith(".cfg"):
        row["darknet_images_per_s"] = darknet_program.speed(case["size"], CLASSES, case["inference"])
        print_darknet(row)
    return row


# ---- the start, and the convolutions ----


def run_start(options):
    """From the process's start to the end of the first step, of ResNet-18 with CIFAR's stem: imports and compilation included."""
    case = case_of("resnet18_cifar", options) | {"batch": 32}
    mine, other = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "recipe.ini")
        path.write_text(recipe(case, 1, "f32"))
        for i in range(options.rounds):
            mine.append(time_to_first_step([options.cvrun, "train", path, f"run.project={folder}", f"name=run{i}"]))
            other.append(time_to_first_step(child_command(case, "f32", "nchw", 1)))
    ratios = sorted(b / a for a, b in zip(mine, other))
    print(f"\nstart to the end of the first step, ResNet-18 at 32 pixels, batch 32: cvrun {statistics.median(mine):.2f} s, PyTorch (eager) "
          f"{statistics.median(other):.2f} s, {statistics.median(ratios):.1f} times as long ({ratios[0]:.1f}..{ratios[-1]:.1f})", flush=True)
    return {"cvrun_s": mine, "pytorch_s": other, "ratios": ratios}


DIRECTIONS = ("forward", "data", "weight")


def conv_shares(options, precision):
    """{shape: shares of the peak, forward, data gradient, weight gradient}, and conv_bench's own words."""
    command = [options.cvrun.parent / "conv_bench", "--json", "--threads", THREADS, "--precision", precision, "--seconds", 0.15]
    found = json.loads(run_child(command)[0])
    return {s["shape"]: [s["flop"] / s[f"{d}_s"] / found["peak"] for d in DIRECTIONS] for s in found["shapes"]}, found


def run_convs(options):
    """Every convolution of ResNet-50 as a share of the measured peak: a row a shape, the one with the lowest share last."""
    precisions = precisions_of(options)
    shares, words = {}, {}
    for p in precisions:
        shares[p], words[p] = conv_shares(options, p)
    print("\nconvolutions of ResNet-50, % of the peak; * is the weakest of its column, the shape with the lowest share is last", flush=True)
    print(f"{'':26}" + "".join(f" | {p:>6}, {words[p]['peak'] * 1e-9:6.1f} GFLOP/s " for p in precisions))
    print(f"{'shape':26}" + "".join(" |" + "".join(f"{d:>8}" for d in DIRECTIONS) for p in precisions))
    lowest = {p: [min(s[i] for s in shares[p].values()) for i in range(3)] for p in precisions}
    for shape in sorted(shares[precisions[0]], key=lambda s: -min(min(shares[p][s]) for p in precisions)):
        cells = [(" |" if i == 0 else "") + f"{100 * shares[p][shape][i]:7.0f}" + "* "[shares[p][shape][i] > lowest[p][i]]
                 for p in precisions for i in range(3)]
        print(f"{shape:26}" + "".join(cells), flush=True)
    print("A 3x3 convolution in f32 passes 100 % by Winograd's method: FLOP are those of the direct one.", flush=True)
    return words


def main():
    if sys.argv[1:2] in (["--child"], ["--check"]):
        return {"--child": child, "--check": check}[sys.argv[1]](sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cvrun", type=pathlib.Path)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; none, and neither --start nor --convs: everything")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", choices=list(BOUNDS))
    parser.add_argument("--batch", type=int, help="in place of the case's own")
    parser.add_argument("--memory", default="", help="train.memory, such as 1.7G: activations are computed twice")
    parser.add_argument("--inference", action="store_true", help="every case as evaluation runs it")
    parser.add_argument("--no-check", action="store_true", help="do not see first whether both learn the same")
    parser.add_argument("--start", action="store_true", help="time from the process's start to the end of the first step")
    parser.add_argument("--convs", action="store_true", help="ResNet-50's convolutions as shares of the machine's peak")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="all figures")
    args = parser.parse_intermixed_args()
    if args.steps <= SKIPPED:
        parser.error(f"--steps {args.steps}: the first {SKIPPED} only warm up; give more")
    for case in args.cases:
        if case not in CASES:
            parser.error(f"no case {case}; there are {', '.join(CASES)}")
    everything = not (args.cases or args.start or args.convs)
    figures = {"threads": THREADS, "cases": []}
    if everything or args.cases:
        print_head()
    for case in CASES if everything else args.cases:
        for precision in precisions_of(args):
            figures["cases"].append(run_case(case, args, precision))
    if everything or args.start:
        figures["start"] = run_start(args)
    if everything or args.convs:
        figures["convolutions"] = run_convs(args)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    sys.exit(any(not row["counts"] for row in figures["cases"]))


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(f"a run failed:\n{str(error)[-2000:]}")
