"""Every model against torchvision's or timm's (some: against networks.py), from the same weights on the same pictures.

usage: models.py CVRUN [MODEL...] [--narrow] [--write]

For each model PyTorch draws seeded weights, with batch statistics that are not 0 and 1, and writes them as safetensors. cvrun's
`predict` and PyTorch look at the same pictures: logits must agree to 1e-4 of the largest. Then both do one plain SGD step on them:
the change of every parameter and running statistic must agree to 2e-3, or to twice what PyTorch's own f32 is off, if that is
more (L2, relative; what a change is smaller than one part in 10^4 of the largest is not told apart from rounding). So must the
losses of auxiliary classifiers in it. Dropout and stochastic depth are off. PyTorch computes in double.
What the weights start from is compared as well: constants, and deviations of what is drawn.
--narrow does it with narrow versions of the models first; --write puts these into tests/golden/models.safetensors, which
tests/models/models_test.c reads.
Needs torch, torchvision, timm, segmentation-models-pytorch, numpy and safetensors.
"""
import copy, functools, pathlib, subprocess, sys, tempfile
import segmentation_models_pytorch, timm, torch, torchvision
from safetensors.torch import load_file, save_file
from torch import nn
from timm.models.deit import VisionTransformerDistilled
from torchvision.models import efficientnet, mobilenetv3, resnet
import networks
from networks import NarrowResNet, UNet
from side_by_side import fake

CLASSES = 4
GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/models.safetensors"
SEGMENT = ("unet", "fcn", "deeplab", "lraspp", "pspnet")  # how the names of models begin that have a class for each pixel
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


def scaled(make, factor):
    """A torchvision network whose layers, but for the last, have `factor` of their channels, and take what they are given."""
    wide = {name: getattr(nn, name) for name in ("Conv2d", "Linear", "BatchNorm2d")}
    width = lambda n: n if n == CLASSES else max(1, int(n * factor + 0.5))

    class Conv2d(nn.LazyConv2d):
        def __init__(self, i, o, **settings):
            super().__init__(width(o), **settings)

    class Linear(nn.LazyLinear):
        def __init__(self, i, o, **settings):
            super().__init__(width(o), **settings)

    class BatchNorm2d(nn.LazyBatchNorm2d):
        def __init__(self, n, **settings):
            super().__init__(**settings)

    try:
        nn.Conv2d, nn.Linear, nn.BatchNorm2d = Conv2d, Linear, BatchNorm2d
        net = make()
    finally:
        for name, module in wide.items():
            setattr(nn, name, module)
    with torch.no_grad():
        net(torch.randn(2, 3, 96, 96))
    return net


def narrow_mobilenet_v3():
    return torchvision.models.MobileNetV3(*mobilenetv3._mobilenet_v3_conf("mobilenet_v3_small", width_mult=0.1), num_classes=CLASSES)


def narrow_efficientnet():
    rows, last = efficientnet._efficientnet_conf("efficientnet_b0", width_mult=0.1, depth_mult=0.3)
    return torchvision.models.EfficientNet(rows, 0.2, num_classes=CLASSES, last_channel=last)


def swin(embed_dim, depths, num_heads, window):
    return torchvision.models.SwinTransformer([4, 4], embed_dim, depths, num_heads, [window, window], num_classes=CLASSES)


def narrow_vgg(bn):
    net = torchvision.models.VGG(torchvision.models.vgg.make_layers([3, "M", 6, 6, "M"], bn), num_classes=CLASSES)
    net.classifier = nn.Sequential(nn.Linear(6 * 49, 8), nn.ReLU(), nn.Dropout(0), nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0), nn.Linear(8, CLASSES))
    return net


def smp_unet(encoder):
    return segmentation_models_pytorch.Unet(encoder, encoder_weights=None, classes=CLASSES)


def narrow_unet_resnet():
    return networks.UnetOnResNet(NarrowResNet(resnet.BasicBlock, [1, 1, 1, 1], 2, False, 4), [2, 2, 4, 8, 16], [8, 6, 4, 3, 3], CLASSES)


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

    off = ["dropout=0", "dropout_aux=0"]
    for name in ("fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large"):
        make = functools.partial(torchvision.models.get_model, name, weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=True)
        full[name] = (make, off, 97 if "50" in name else 64, 4)
    make = functools.partial(torchvision.models.get_model, "lraspp_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=CLASSES)
    full["lraspp_mobilenet_v3_large"] = (make, [], 97, 4)

    for depth, layers in ((50, [3, 4, 6, 3]), (101, [3, 4, 23, 3])):
        make = functools.partial(networks.PspNet, layers, 64, (1, 2, 3, 6), CLASSES)
        full[f"pspnet_resnet{depth}"] = (make, off, 97 if depth == 50 else 65, 4)
        full[f"unet_resnet{34 if depth == 50 else 50}"] = (functools.partial(smp_unet, f"resnet{34 if depth == 50 else 50}"), [], 97, 4)
    for name in ("resnet50", "resnet101", "mobilenet_v2"):
        for stride in (16, 8):
            make = functools.partial(networks.deeplabv3plus, name, CLASSES, stride)
            side = (65, 8) if (name, stride) == ("resnet50", 8) else (64, 4) if "101" in name else (97, 4)
            full[f"deeplabv3plus_{name}/{stride}"] = (make, ["dropout=0", f"output_stride={stride}"], *side)

    for name in ("resnext50_32x4d", "wide_resnet50_2", "densenet121"):
        full[name] = (functools.partial(getattr(torchvision.models, name), num_classes=CLASSES), [], 224, 4)
    for name in ("mobilenet_v3_large", "mobilenet_v3_small", "googlenet", "inception_v3", "efficientnet_b0", "convnext_small", "swin_t"):
        without = {"mobile": ["dropout=0"], "google": ["dropout=0", "dropout_aux=0"], "incept": ["dropout=0"], "effici": ["dropout=0", "drop_path=0"]}
        more = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        make = functools.partial(getattr(torchvision.models, name), num_classes=CLASSES, **more)
        full[name] = (make, without.get(name[:6], ["drop_path=0"]), 299 if name == "inception_v3" else 224, 4)
    full["vit_b_32"] = (functools.partial(torchvision.models.vit_b_32, num_classes=CLASSES), [], 224, 4)
    for name in ("deit_tiny_patch16_224", "deit_small_distilled_patch16_224", "vit_small_patch16_224"):
        full[name] = (functools.partial(timm.create_model, name, num_classes=CLASSES), ["drop_path=0"], 224, 4)

    narrow["resnet18"] = (functools.partial(NarrowResNet, resnet.BasicBlock, [1, 1], 4, False, CLASSES), ["layers=1,1", "width=4"], 24, 4)
    narrow["resnet50_cifar"] = (functools.partial(NarrowResNet, resnet.Bottleneck, [1, 2], 2, True, CLASSES), ["layers=1,2", "width=2"], 12, 4)
    for name, bn in (("vgg11", False), ("vgg11_bn", True)):
        narrow[name] = (functools.partial(narrow_vgg, bn), ["layers=1,2", "width=3", "classifier_width=8", "dropout=0"], 16, 4)
    narrow["mobilenet_v2"] = (narrow_mobilenet, ["width_mult=0.1", "round_nearest=2", "last_channel=24", "dropout=0"], 40, 4)
    narrow["convnext_tiny"] = (functools.partial(convnext, [1, 2], 6), ["layers=1,2", "width=6", "drop_path=0"], 24, 4)
    vit = dict(image_size=16, patch_size=4, num_layers=2, num_heads=3, hidden_dim=12, mlp_dim=20)
    narrow["vit_b_16"] = (functools.partial(torchvision.models.VisionTransformer, num_classes=CLASSES, **vit), [f"{k}={v}" for k, v in vit.items() if k != "image_size"], 16, 4)
    for name, groups, per_group in (("resnext50_32x4d", 2, 32), ("wide_resnet50_2", 1, 128)):
        make = functools.partial(NarrowResNet, resnet.Bottleneck, [1, 2], 4, False, CLASSES, groups, per_group)
        narrow[name] = (make, ["layers=1,2", "width=4", f"groups={groups}", f"width_per_group={per_group}"], 24, 4)
    narrow["googlenet"] = (functools.partial(scaled, functools.partial(torchvision.models.GoogLeNet, CLASSES, transform_input=True, init_weights=False), 1 / 32), ["width_mult=0.03125", "transform_input=yes", "dropout=0", "dropout_aux=0"], 64, 4)
    narrow["inception_v3"] = (functools.partial(scaled, functools.partial(torchvision.models.Inception3, CLASSES, aux_logits=False, init_weights=False), 0.03), ["width_mult=0.03", "aux_logits=no", "dropout=0"], 75, 4)
    narrow["mobilenet_v3_small"] = (narrow_mobilenet_v3, ["width_mult=0.1", "dropout=0"], 40, 4)
    narrow["efficientnet_b0"] = (narrow_efficientnet, ["width_mult=0.1", "depth_mult=0.3", "dropout=0", "drop_path=0"], 40, 4)
    dense = dict(growth_rate=4, block_config=(1, 2), num_init_features=6, bn_size=2)
    narrow["densenet121"] = (functools.partial(torchvision.models.DenseNet, num_classes=CLASSES, **dense), ["layers=1,2", "growth_rate=4", "width=6", "bn_size=2"], 24, 4)
    for name, kind in (("deit_tiny_patch16_224", timm.models.VisionTransformer), ("deit_tiny_distilled_patch16_224", VisionTransformerDistilled)):
        deit = dict(embed_dim=12, depth=2, num_heads=3, patch_size=4)
        narrow[name] = (functools.partial(kind, img_size=16, num_classes=CLASSES, **deit), [f"{k}={v}" for k, v in deit.items()] + ["drop_path=0"], 16, 4)
    narrow["swin_t"] = (functools.partial(swin, 8, [2, 2], [2, 4], 3), ["embed_dim=8", "depths=2,2", "num_heads=2,4", "window_size=3", "drop_path=0"], 44, 4)
    narrow["fcn_resnet50"] = (functools.partial(networks.narrow_fcn, 2, CLASSES), ["layers=1,1,2,2", "width=2", *off], 33, 4)
    rates = ["atrous_rates=1,2,3", "aspp_channels=6"]
    narrow["deeplabv3_resnet50"] = (functools.partial(networks.narrow_deeplab, 2, 6, (1, 2, 3), CLASSES), ["layers=1,2,1,1", "width=2", *rates, *off], 33, 4)
    mobile = functools.partial(networks.narrow_deeplab_mobilenet, 0.02, 6, (1, 2, 3), CLASSES)
    narrow["deeplabv3_mobilenet_v3_large"] = (mobile, ["width_mult=0.02", *rates, *off], 40, 4)
    narrow["lraspp_mobilenet_v3_large"] = (functools.partial(networks.narrow_lraspp, 0.02, 6, CLASSES), ["width_mult=0.02", "inter_channels=6"], 40, 4)
    narrow["pspnet_resnet50"] = (functools.partial(networks.PspNet, [1, 1, 2, 2], 2, (1, 2), CLASSES), ["layers=1,1,2,2", "width=2", "bins=1,2", *off], 33, 4)
    plus = dict(channels=6, low_channels=3, rates=(1, 2, 3))
    rates = ["atrous_rates=1,2,3", "aspp_channels=6", "low_channels=3", "dropout=0"]
    make = functools.partial(networks.deeplabv3plus, "resnet50", CLASSES, layers=[1, 1, 1, 2], width=2, **plus)
    narrow["deeplabv3plus_resnet50"] = (make, ["layers=1,1,1,2", "width=2", *rates], 40, 4)
    make = functools.partial(networks.deeplabv3plus, "mobilenet_v2", CLASSES, 8, width_mult=0.1, **plus)
    narrow["deeplabv3plus_mobilenet_v2"] = (make, ["width_mult=0.1", "output_stride=8", *rates], 41, 4)
    narrow["unet_resnet34"] = (narrow_unet_resnet, ["layers=1,1,1,1", "width=2", "decoder_channels=8,6,4,3,3"], 45, 4)
    for name, bn in (("unet", True), ("unet_plain", False)):
        narrow[name] = (functools.partial(UNet, 3, 2, bn, CLASSES), ["width=3", "depth=2", f"batch_norm={'yes' if bn else 'no'}"], 12, 4)
    return full, narrow


SMALL = (torchvision.models.ConvNeXt, torchvision.models.SwinTransformer, torchvision.models.GoogLeNet, torchvision.models.Inception3, timm.models.VisionTransformer)


def seeded(make, seed):
    """Weights as the model starts; norms with statistics, scales and shifts that matter. Most shifts are far enough from 0 (and 6)
    for few ReLUs to be near their kink, where rounding decides about a gradient."""
    torch.manual_seed(seed)
    net = make()
    for module in net.modules():
        if isinstance(net, SMALL) and isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)  # with their own weights gradients are so small that rounding hides them
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.num_batches_tracked.fill_(3)
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
        if isinstance(module, nn.BatchNorm2d):
            # Yet a shift that keeps all of a channel on one side of the kink is undone by the next norm, and its gradient is a sum
            # that cancels, which is worst where channels are few.
            few = isinstance(net, torchvision.models.Inception3) and net.fc.in_features < 2048
            shift = 0.0 if isinstance(net, torchvision.models.MobileNetV3) else 1.0 if few else 3.0
            module.bias.data += torch.where(torch.rand_like(module.bias) < 0.75, shift, -shift)
        if isinstance(module, torchvision.models.convnext.CNBlock):
            nn.init.uniform_(module.layer_scale, 0.2, 0.6)
        if isinstance(module, torchvision.models.VisionTransformer):
            nn.init.normal_(module.heads.head.weight, 0, 0.2)
            nn.init.normal_(module.class_token)
        if isinstance(module, timm.models.VisionTransformer):
            nn.init.normal_(module.cls_token)
        if isinstance(module, torchvision.models.swin_transformer.ShiftedWindowAttention):
            nn.init.normal_(module.relative_position_bias_table, 0, 0.5)
        if isinstance(module, nn.MultiheadAttention):
            nn.init.normal_(module.in_proj_bias, 0, 0.2)
        if isinstance(module, (nn.Dropout, nn.Dropout2d, torchvision.ops.StochasticDepth)):
            module.p = 0.0
    with torch.no_grad():
        for t in net.state_dict().values():
            t.copy_(t.bfloat16() if t.is_floating_point() else t)  # the golden file has half as many bytes
    return net


def batch(size, n, seed, masks):
    """Pictures, and labels as a folder of them has them: in order. With masks, what cvrun's data set "fake" makes."""
    if masks:
        return fake(size, n, seed, CLASSES, masks=True)
    torch.manual_seed(seed)
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8), torch.arange(n) * CLASSES // n


def loss_of(outputs, y, share=0.5):
    """Cross entropy, and that of auxiliary classifiers with the weights of their papers; `share`: of one with a class for each pixel."""
    share = share if isinstance(outputs, dict) else 0.4 if len(outputs) == 2 else 0.3
    outputs = tuple(outputs.values()) if isinstance(outputs, dict) else outputs if isinstance(outputs, tuple) else (outputs,)
    entropies = [nn.functional.cross_entropy(o, y, ignore_index=255) for o in outputs]
    return entropies[0] + share * sum(entropies[1:])


def oracle(net, x, y, dtype=torch.float64):
    """Logits in evaluation, and the state before and after one step."""
    net = copy.deepcopy(net).to(dtype)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    x = (x.float() / 255).to(dtype)
    with torch.no_grad():
        logits = net.eval()(x)
        logits = logits["out"] if isinstance(logits, dict) else logits
    net.train()
    loss_of(net(x), y, getattr(net, "aux_share", 0.5)).backward()
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
    run = functools.partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run([cvrun, "predict", folder / "recipe.ini", f"model.num_classes={CLASSES}", f"source={folder}/data/train", f"predict.out={folder}/out", "predict.raw=yes"])
    run([cvrun, "train", folder / "recipe.ini"])
    task = "segment" if masks else "classify"
    return load_file(folder / "out/raw.safetensors")["output"], load_file(folder / f"{task}/step/weights/last.safetensors")


# ---- the comparison ----


def changes(before, after):
    return {k: after[k].double() - before[k].double() for k in before}


def distances(theirs, mine):
    """Relative L2 distance of every change."""
    assert set(theirs) == set(mine), set(theirs) ^ set(mine)
    floor = 1e-4 * max(d.pow(2).mean().sqrt() for k, d in theirs.items() if d.dim() > 1)
    return {k: ((mine[k] - d).norm() / max(d.norm(), floor * d.numel() ** 0.5)).item() for k, d in theirs.items()}


def worst_change(theirs, mine, theirs_f32):
    """The change that is farthest from what it may be off: distance, what it may be, and whose it is."""
    own, ours_ = distances(theirs, theirs_f32), distances(theirs, mine)
    return max((d / max(2e-3, 2 * own[k]), d, max(2e-3, 2 * own[k]), k) for k, d in ours_.items())[1:]


def compare(cvrun, name, case, seed):
    """Error of the logits, of the changes, whose that is, and what the golden file keeps."""
    make, settings, size, n = case
    net = seeded(make, seed)
    model = name.removesuffix("_plain").split("/")[0]
    x, y = batch(size, n, seed, model.startswith(SEGMENT))
    with tempfile.TemporaryDirectory() as folder:
        logits, after = ours(cvrun, model, settings, net, x, y, seed, pathlib.Path(folder))
    expected, before, expected_after = oracle(net, x, y)
    theirs = changes(before, expected_after)
    _, before_f32, after_f32 = oracle(net, x, y, torch.float32)
    error = ((logits - expected).abs().max() / expected.abs().max()).item()
    text = lambda t: torch.tensor(list(t.encode()), dtype=torch.uint8)
    golden = {"model": text(model), "settings": text(" ".join(settings)), "image": x, "target": y, "logits": expected.float(), "lr": torch.tensor(LR)}
    golden |= {f"param.{k}": v.bfloat16() if v.is_floating_point() else v for k, v in net.state_dict().items()} | {f"change.{k}": v.float() for k, v in theirs.items()}
    return error, *worst_change(theirs, changes(before, after), changes(before_f32, after_f32)), {f"{name}/{k}": v.contiguous() for k, v in golden.items()}


def check(cvrun, name, case, narrow=False):
    """A ReLU whose gradient rounding turns on or off is seen in a deep stage of few pixels (PyTorch's f32 leaves its f64 so, too).
    Such a chance is gone with other weights, an error is not: several seeds are tried, most for a narrow version, which other machines
    must meet with room to spare. Returns the golden tensors, or None."""
    for seed in range(7, 15 if narrow else 10):
        error, worst, bound, whose, golden = compare(cvrun, name, case, seed)
        print(f"{name:32} {case[2]:4} {seed:4} {error:10.1e} {worst:10.1e} {bound:10.1e}  {whose}", flush=True)
        if error <= 1e-4 and worst <= (1e-3 if narrow else bound):
            return golden
    return None


def kind(t):
    """A number, or a distribution: of more than 2000 numbers the largest of uniform ones is 1.73 deviations away. What PyTorch's
    trunc_normal_ put at its bounds, a hundred deviations away, is one number in a million, an infinity of its erfinv."""
    t = t[t.abs() < 20 * t.std()] if t.numel() > 2000 and t.std() > 0 else t
    deviation = t.std().item() if t.numel() > 1 else 0.0
    return ("constant", t.flatten()[0].item()) if deviation == 0 else ("uniform" if t.abs().max() < 1.8 * deviation else "normal", deviation)


def check_start(cvrun, name, case):
    """What the weights start from: the same constants, the same distributions with the same deviation."""
    torch.manual_seed(0)
    theirs = case[0]().state_dict()
    with tempfile.TemporaryDirectory() as folder:
        task = ["run.task=segment", "data.masks=yes"] if name.startswith(SEGMENT) else []
        recipe = pathlib.Path(folder) / "recipe.ini"
        recipe.write_text(f"[run]\nname = start\n[model]\nname = {name.split('/')[0]}\n[data]\nformat = fake\nsize = 2\nclasses = {CLASSES}\nimg_size = {case[2]}\n")
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
    print(f"{'model':32} size seed {'logits':>10} {'change':>10} {'bound':>10}  of")
    good, golden = True, {}
    for name, case in narrow.items() if "--write" in sys.argv or "--narrow" in sys.argv else ():
        if wanted and name not in wanted:
            continue
        found = check(cvrun, name, case, True)
        good &= found is not None
        golden |= found or {}
    if golden and "--write" in sys.argv:
        written = {key.split("/")[0] for key in golden}
        others = {key: t for key, t in load_file(GOLDEN).items() if key.split("/")[0] not in written} if wanted else {}
        save_file(others | golden, GOLDEN)
    for name, case in full.items():
        if not wanted or name in wanted:
            good &= check(cvrun, name, case) is not None and check_start(cvrun, name, case)
    sys.exit(not good)


if __name__ == "__main__":
    main()
