"""Every model against torchvision's (U-Net: against the module below), from the same weights on the same pictures.

usage: models.py CVRUN [MODEL...] [--write]

For each model PyTorch draws seeded weights, with batch statistics that are not 0 and 1, and writes them as safetensors. cvrun's
`predict` and PyTorch look at the same pictures: logits must agree to 1e-4 of the largest. Then both do one plain SGD step on them:
the change of every parameter and running statistic must agree to 2e-3 (L2, relative; what a change is smaller than one part in
10^4 of the largest is not told apart from rounding). Dropout and stochastic depth are off. PyTorch computes in double.
What the weights start from is compared as well: constants, and deviations of what is drawn.
--write makes tests/golden/models.safetensors from narrow versions of the models, which tests/models/models_test.c reads.
Needs torch, torchvision, numpy and safetensors.
"""
import copy, functools, pathlib, subprocess, sys, tempfile
import torch, torchvision
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import resnet
from networks import NarrowResNet, UNet
from side_by_side import fake

CLASSES = 4
ROOT = pathlib.Path(__file__).resolve().parents[2]
LR = 1.0  # a change is linear in it, and must stand out of the rounding of the weight that it is added to


# ---- the models, and their narrow versions ----


def convnext(layers, width):
    config = torchvision.models.convnext.CNBlockConfig
    stages = [config(width << i, width << (i + 1) if i + 1 < len(layers) else None, n) for i, n in enumerate(layers)]
    return torchvision.models.ConvNeXt(stages, num_classes=CLASSES)


def narrow_mobilenet():
    net = torchvision.models.MobileNetV2(num_classes=CLASSES, width_mult=0.1, round_nearest=2)
    last = net.features[-1][0].in_channels
    net.features[-1] = torchvision.ops.Conv2dNormActivation(last, 24, kernel_size=1, activation_layer=nn.ReLU6)
    net.classifier[1] = nn.Linear(24, CLASSES)
    return net


def narrow_vgg(bn):
    net = torchvision.models.VGG(torchvision.models.vgg.make_layers([3, "M", 6, 6, "M"], bn), num_classes=CLASSES)
    net.classifier = nn.Sequential(nn.Linear(6 * 49, 8), nn.ReLU(), nn.Dropout(0), nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0), nn.Linear(8, CLASSES))
    return net


def cases():
    """name: (module, settings of cvrun, size, batch)"""
    full, narrow = {}, {}
    for depth, layers in ((18, [2, 2, 2, 2]), (34, [3, 4, 6, 3]), (50, [3, 4, 6, 3]), (101, [3, 4, 23, 3]), (152, [3, 8, 36, 3])):
        block = resnet.BasicBlock if depth < 50 else resnet.Bottleneck
        full[f"resnet{depth}"] = (functools.partial(getattr(torchvision.models, f"resnet{depth}"), num_classes=CLASSES), [], 64, 8)
        full[f"resnet{depth}_cifar"] = (functools.partial(NarrowResNet, block, layers, 64, True, CLASSES), [], 32 if depth < 101 else 24, 4)
    for depth in (11, 13, 16, 19):
        for bn in ("", "_bn"):
            full[f"vgg{depth}{bn}"] = (functools.partial(getattr(torchvision.models, f"vgg{depth}{bn}"), num_classes=CLASSES), ["dropout=0"], 32, 4)
    full["mobilenet_v2"] = (functools.partial(torchvision.models.mobilenet_v2, num_classes=CLASSES), ["dropout=0"], 64, 8)
    full["convnext_tiny"] = (functools.partial(convnext, [3, 3, 9, 3], 96), ["drop_path=0"], 64, 4)
    full["vit_b_16"] = (functools.partial(torchvision.models.vit_b_16, image_size=64, num_classes=CLASSES), [], 64, 4)
    full["unet"] = (functools.partial(UNet, classes=CLASSES), [], 32, 4)

    narrow["resnet18"] = (functools.partial(NarrowResNet, resnet.BasicBlock, [1, 1], 4, False, CLASSES), ["layers=1,1", "width=4"], 24, 4)
    narrow["resnet50_cifar"] = (functools.partial(NarrowResNet, resnet.Bottleneck, [1, 2], 2, True, CLASSES), ["layers=1,2", "width=2"], 12, 4)
    for name, bn in (("vgg11", False), ("vgg11_bn", True)):
        narrow[name] = (functools.partial(narrow_vgg, bn), ["layers=1,2", "width=3", "classifier_width=8", "dropout=0"], 16, 4)
    narrow["mobilenet_v2"] = (narrow_mobilenet, ["width_mult=0.1", "round_nearest=2", "last_channel=24", "dropout=0"], 40, 4)
    narrow["convnext_tiny"] = (functools.partial(convnext, [1, 2], 6), ["layers=1,2", "width=6", "drop_path=0"], 24, 4)
    vit = dict(image_size=16, patch_size=4, num_layers=2, num_heads=3, hidden_dim=12, mlp_dim=20)
    narrow["vit_b_16"] = (functools.partial(torchvision.models.VisionTransformer, num_classes=CLASSES, **vit), [f"{k}={v}" for k, v in vit.items() if k != "image_size"], 16, 4)
    for name, bn in (("unet", True), ("unet_plain", False)):
        narrow[name] = (functools.partial(UNet, 3, 2, bn, CLASSES), ["width=3", "depth=2", f"batch_norm={'yes' if bn else 'no'}"], 12, 4)
    return full, narrow


def seeded(make, seed):
    """Weights as the model starts; norms with statistics, scales and shifts that matter. Most shifts are far enough from 0 (and 6)
    for few ReLUs to be near their kink, where rounding decides about a gradient."""
    torch.manual_seed(seed)
    net = make()
    for module in net.modules():
        if isinstance(net, torchvision.models.ConvNeXt) and isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)  # with its own 0.02 gradients are so small that rounding hides them
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.num_batches_tracked.fill_(3)
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data += torch.where(torch.rand_like(module.bias) < 0.75, 3.0, -3.0)
        if isinstance(module, torchvision.models.convnext.CNBlock):
            nn.init.uniform_(module.layer_scale, 0.2, 0.6)
        if isinstance(module, torchvision.models.VisionTransformer):
            nn.init.normal_(module.heads.head.weight, 0, 0.2)
            nn.init.normal_(module.class_token)
        if isinstance(module, nn.MultiheadAttention):
            nn.init.normal_(module.in_proj_bias, 0, 0.2)
        if isinstance(module, (nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0
    return net


def batch(size, n, seed, masks):
    """Pictures, and labels as a folder of them has them: in order. With masks, what cvrun's data set "fake" makes."""
    if masks:
        return fake(size, n, seed, CLASSES, masks=True)
    torch.manual_seed(seed)
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8), torch.arange(n) * CLASSES // n


def oracle(net, x, y):
    """Logits in evaluation, and the state before and after one step, in double."""
    net = copy.deepcopy(net).double()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    x = (x.float() / 255).double()
    with torch.no_grad():
        logits = net.eval()(x)
    net.train()
    nn.functional.cross_entropy(net(x), y, ignore_index=255).backward()
    with torch.no_grad():
        for p in net.parameters():
            p -= LR * p.grad
    return logits, before, dict(net.state_dict())


# ---- cvrun ----


def ours(cvrun, name, settings, net, x, y, seed, folder):
    """cvrun's logits and its weights after one step."""
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, folder / "start.safetensors")
    masks = y.dim() == 3
    for i, picture in enumerate(x):
        path = folder / f"data/train/{'all' if masks else y[i].item()}/{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        torchvision.io.write_png(picture.contiguous(), str(path))
    recipe = ["[run]", "name = step", f"project = {folder}", f"seed = {seed}", f"task = {'segment' if masks else 'classify'}", "[data]", "shuffle = no"]
    recipe += ["format = fake", f"classes = {CLASSES}", "masks = yes", f"size = {len(x)}", f"img_size = {x.shape[2]}"] if masks else ["format = folder", f"root = {folder}/data"]
    recipe += ["[model]", f"name = {name}", f"weights = {folder}/start.safetensors", *settings, "[train]", f"batch = {len(x)}", "epochs = 1"]
    recipe += ["[optim]", "name = sgd", f"lr = {LR}", "momentum = 0", "[val]", "interval = 0"]
    (folder / "recipe.ini").write_text("\n".join(recipe) + "\n")
    run = functools.partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
    run([cvrun, "predict", folder / "recipe.ini", f"model.num_classes={CLASSES}", f"source={folder}/data/train", f"predict.out={folder}/out", "predict.raw=yes"])
    run([cvrun, "train", folder / "recipe.ini"])
    task = "segment" if masks else "classify"
    return load_file(folder / "out/raw.safetensors")["output"], load_file(folder / f"{task}/step/weights/last.safetensors")


# ---- the comparison ----


def changes(before, after):
    return {k: after[k].double() - before[k].double() for k in before}


def worst_change(theirs, mine):
    """Largest relative L2 distance of a change, and whose it is."""
    assert set(theirs) == set(mine), set(theirs) ^ set(mine)
    floor = 1e-4 * max(d.pow(2).mean().sqrt() for k, d in theirs.items() if d.dim() > 1)
    return max((((mine[k] - d).norm() / max(d.norm(), floor * d.numel() ** 0.5)).item(), k) for k, d in theirs.items())


def compare(cvrun, name, case, seed):
    """Error of the logits, of the changes, whose that is, and what the golden file keeps."""
    make, settings, size, n = case
    net = seeded(make, seed)
    model = name.removesuffix("_plain")
    x, y = batch(size, n, seed, model == "unet")
    with tempfile.TemporaryDirectory() as folder:
        logits, after = ours(cvrun, model, settings, net, x, y, seed, pathlib.Path(folder))
    expected, before, expected_after = oracle(net, x, y)
    theirs = changes(before, expected_after)
    error = ((logits - expected).abs().max() / expected.abs().max()).item()
    text = lambda t: torch.tensor(list(t.encode()), dtype=torch.uint8)
    golden = {"model": text(model), "settings": text(" ".join(settings)), "image": x.float() / 255, "target": y, "logits": expected.float(), "lr": torch.tensor(LR)}
    golden |= {f"param.{k}": v for k, v in net.state_dict().items()} | {f"change.{k}": v.float() for k, v in theirs.items()}
    return error, *worst_change(theirs, changes(before, after)), {f"{name}/{k}": v.contiguous() for k, v in golden.items()}


def check(cvrun, name, case):
    """A ReLU whose gradient rounding turns on or off is seen in a deep stage of few pixels (PyTorch's f32 leaves its f64 so, too).
    Such a chance is gone with other weights, an error is not: up to three seeds are tried. Returns the golden tensors, or None."""
    for seed in (7, 8, 9):
        error, worst, whose, golden = compare(cvrun, name, case, seed)
        print(f"{name:16} {case[2]:4} {seed:4} {error:10.1e} {worst:10.1e}  {whose}", flush=True)
        if error <= 1e-4 and worst <= 2e-3:
            return golden
    return None


def kind(t):
    """A number, or a distribution: of more than 2000 numbers the largest of uniform ones is 1.73 deviations away."""
    deviation = t.std().item() if t.numel() > 1 else 0.0
    return ("constant", t.flatten()[0].item()) if deviation == 0 else ("uniform" if t.abs().max() < 1.8 * deviation else "normal", deviation)


def check_start(cvrun, name, case):
    """What the weights start from: the same constants, the same distributions with the same deviation."""
    torch.manual_seed(0)
    theirs = case[0]().state_dict()
    with tempfile.TemporaryDirectory() as folder:
        task = ["run.task=segment", "data.masks=yes"] if name == "unet" else []
        recipe = pathlib.Path(folder) / "recipe.ini"
        recipe.write_text(f"[run]\nname = start\n[model]\nname = {name}\n[data]\nformat = fake\nsize = 2\nclasses = {CLASSES}\nimg_size = {case[2]}\n")
        run = [cvrun, "train", recipe, f"run.project={folder}", "epochs=0", "val.interval=0", "batch=2", *task, *(f"model.{s}" for s in case[1])]
        subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
        mine = load_file(next(pathlib.Path(folder).glob("*/start/weights/last.safetensors")))
    for key, t in theirs.items():
        (a, p), (b, q) = kind(t.double()), kind(mine[key].double())
        few = t.numel() <= 2000
        if (a == "constant") != (b == "constant") or not few and a != b or abs(p - q) > (0 if a == "constant" else 5 * abs(p) / t.numel() ** 0.5):
            print(f"{name}: {key} starts {b} {q}; torchvision's {a} {p}")
            return False
    return True


def main():
    cvrun, wanted = sys.argv[1], [a for a in sys.argv[2:] if not a.startswith("-")]
    full, narrow = cases()
    torch.set_num_threads(2)
    print(f"{'model':16} size seed {'logits':>10} {'change':>10}  of")
    good, golden = True, {}
    for name, case in narrow.items() if "--write" in sys.argv else ():
        found = check(cvrun, name, case)
        good &= found is not None
        golden |= found or {}
    if golden:
        save_file(golden, ROOT / "tests/golden/models.safetensors")
    for name, case in full.items():
        if not wanted or name in wanted:
            good &= check(cvrun, name, case) is not None and check_start(cvrun, name, case)
    sys.exit(not good)


if __name__ == "__main__":
    main()
