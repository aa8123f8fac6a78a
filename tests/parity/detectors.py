"""One-stage detectors against torchvision's, from the same weights on the same pictures.

usage: detectors.py DETECTOR_RUN [MODEL...] [--narrow] [--write]
       detectors.py --trained CVRUN RUN PICTURES

As detectors_two.py, of which it takes the comparison: SSD300, SSDlite320, RetinaNet and its second version, FCOS. Compared are
  in evaluation   what the heads say (1e-4 of the largest) and the detections: boxes, scores and classes
  in training     each loss, and what a plain SGD step changes in every parameter and running statistic: to 2e-3, or to twice what
                  PyTorch's own f32 is off, if that is more
  apart           torchvision's detections and losses of what OUR heads said, beside ours: decoding, matching, losses by themselves
PyTorch computes in double, but for anchors and overlaps, which it has in f32, so that equal ones stay equal. RetinaNet's and FCOS's
class 0 (background, which is never learnt) is kept from being found, since here it is none.
--trained takes the run folder of a network that cvrun trained, with torchvision's widths, loads its weights into torchvision's network
(strict) and lets both detect in a folder's pictures, with all that stands before: reading, resizing, normalisation.
--narrow does it with narrow versions first; --write puts these into tests/golden/one_stage.safetensors, which
tests/models/one_stage_nets_test.c reads. Needs torch, torchvision, safetensors.
"""
import copy, functools, json, pathlib, subprocess, sys, tempfile
import torch, torchvision
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import mobilenetv3, resnet, vgg
from torchvision.models.detection import backbone_utils, fcos, retinanet, ssd, ssdlite
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d
from detectors_two import check_found, distances, frozen, ours, targets_of, text
from networks import NarrowResNet

CLASSES = 3
GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/one_stage.safetensors"
HEADS = {
    "ssd300": " ".join(f"head.{kind}_head.module_list.{i}" for kind in ("classification", "regression") for i in range(6)),
    "ssdlite": " ".join(f"head.{kind}_head.module_list.{i}.1" for kind in ("classification", "regression") for i in range(6)),
    "retinanet": "head.classification_head.cls_logits head.regression_head.bbox_reg",
    "fcos": "head.classification_head.cls_logits head.regression_head.bbox_reg head.regression_head.bbox_ctrness",
}
SCALES, STEPS = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05], [8, 16, 32, 64, 100, 300]


# ---- the networks ----


def conv_relu(*sizes):
    """Convolutions (in, out, kernel, stride, padding, dilation), ReLU after each."""
    return nn.Sequential(*(m for i, o, k, s, p, d in sizes for m in (nn.Conv2d(i, o, k, s, p, d), nn.ReLU())))


def narrow_ssd300(width):
    wide = [width * m for m in (1, 2, 4, 8, 8)]
    body = vgg.VGG(vgg.make_layers([c for w in wide for c in (w, "M")]), init_weights=False).features
    body = ssd.SSDFeatureExtractorVGG(body, False)
    last = 16 * width
    body.scale_weight = nn.Parameter(torch.full((8 * width,), 20.0))
    body.extra[0][3] = nn.Sequential(nn.MaxPool2d(3, 1, 1), *conv_relu((8 * width, last, 3, 1, 6, 6), (last, last, 1, 1, 0, 1)))
    for i, (c_in, c, strided) in enumerate([(last, 4 * width, True), (8 * width, 2 * width, True), (4 * width, 2 * width, False), (4 * width, 2 * width, False)]):
        body.extra[i + 1] = conv_relu((c_in, c, 1, 1, 0, 1), (c, 2 * c, 3, 2 if strided else 1, int(strided), 1))
    boxes = DefaultBoxGenerator([[2], [2, 3], [2, 3], [2, 3], [2], [2]], scales=SCALES, steps=STEPS)
    head = ssd.SSDHead([8 * width, last, 8 * width, 4 * width, 4 * width, 4 * width], boxes.num_anchors_per_location(), CLASSES + 1)
    return ssd.SSD(body, boxes, (300, 300), CLASSES + 1, head=head, detections_per_img=20, topk_candidates=30)


def narrow_ssdlite(width_mult):
    norm = functools.partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    net = mobilenetv3.MobileNetV3(*mobilenetv3._mobilenet_v3_conf("mobilenet_v3_large", width_mult=width_mult, reduced_tail=True), norm_layer=norm)
    body = ssdlite.SSDLiteFeatureExtractorMobileNet(net.features, 13, norm, width_mult)
    boxes = DefaultBoxGenerator([[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95)
    widths = ssd.det_utils.retrieve_out_channels(body, (96, 96))
    head = ssdlite.SSDLiteHead(widths, boxes.num_anchors_per_location(), CLASSES + 1, norm)
    return ssd.SSD(body, boxes, (320, 320), CLASSES + 1, head=head, score_thresh=0.001, nms_thresh=0.55, detections_per_img=20, topk_candidates=30)


def narrow_body(kind, freeze, of_body, channels):
    if kind == "mobile":
        body = torchvision.models.MobileNetV3(*mobilenetv3._mobilenet_v3_conf("mobilenet_v3_small", width_mult=0.1), num_classes=2, norm_layer=nn.BatchNorm2d).features
        names = ["2", "4", "12"]
        layers, widths = dict(zip(names, "012")), [body[int(n)].out_channels for n in names]
    else:
        body = NarrowResNet(resnet.Bottleneck, [1, 1, 1, 1], 2, False, 2)
        layers, widths = {f"layer{i + 2}": str(i) for i in range(3)}, [16, 32, 64]
    body = frozen(body) if freeze else body
    return backbone_utils.BackboneWithFPN(body, layers, widths, channels, LastLevelP6P7(widths[-1] if of_body else channels, channels))


def narrow_retinanet(kind="resnet", freeze=True, v2=False):
    sizes = tuple((x, int(x * 2 ** (1.0 / 3)), int(x * 2 ** (2.0 / 3))) for x in (8, 16, 24, 32, 48))
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)
    head = retinanet.RetinaNetHead(6, 9, CLASSES + 1, norm_layer=functools.partial(nn.GroupNorm, 3) if v2 else None)
    if v2:
        head.regression_head._loss_type = "giou"
    return retinanet.RetinaNet(narrow_body(kind, freeze, v2, 6), CLASSES + 1, anchor_generator=anchors, head=head, topk_candidates=40, detections_per_img=20)


def narrow_fcos():
    net = fcos.FCOS(narrow_body("resnet", True, False, 6), CLASSES + 1, topk_candidates=40, detections_per_img=20, head=nn.Identity())
    norm = functools.partial(nn.GroupNorm, 3)
    net.head = fcos.FCOSHead.__new__(fcos.FCOSHead)
    nn.Module.__init__(net.head)
    net.head.box_coder = fcos.det_utils.BoxLinearCoder(normalize_by_size=True)
    net.head.classification_head = fcos.FCOSClassificationHead(6, 1, CLASSES + 1, norm_layer=norm)
    net.head.regression_head = fcos.FCOSRegressionHead(6, 1, norm_layer=norm)
    return net


def full(name, freeze):
    net = getattr(torchvision.models.detection, name)(weights=None, weights_backbone=None, num_classes=CLASSES + 1)
    if freeze:
        frozen(net.backbone.body)
    return net


def cases():
    """label: (module, model, settings, canvas, how often each pixel of a golden picture stands beside itself, lr)"""
    few, found = "fpn_channels=6 topk_candidates=40 detections_per_img=20", "detections_per_img=20 topk_candidates=30"
    resnet_few, sizes = f"layers=1,1,1,1 width=2 {few}", "anchor_sizes=8,16,24,32,48"
    small = {
        "ssd300": (functools.partial(narrow_ssd300, 1), "ssd300_vgg16", f"layers=1,1,1,1,1 width=1 {found}", (300, 300), 5, 0.1),
        "ssdlite": (functools.partial(narrow_ssdlite, 0.05), "ssdlite320_mobilenet_v3_large", f"width_mult=0.05 {found}", (320, 320), 8, 0.5),
        "retinanet": (narrow_retinanet, "retinanet_resnet50_fpn", f"{resnet_few} {sizes}", (101, 93), 2, 0.5),
        "retinanet_mobile": (functools.partial(narrow_retinanet, kind="mobile", freeze=False), "retinanet_resnet50_fpn", f"body=mobilenet_v3_small norm=batch width_mult=0.1 {few} {sizes}", (160, 128), 4, 0.5),
        "retinanet_v2": (functools.partial(narrow_retinanet, freeze=False, v2=True), "retinanet_resnet50_fpn_v2", f"{resnet_few} {sizes} head_groups=3", (96, 96), 2, 0.5),
        "fcos": (narrow_fcos, "fcos_resnet50_fpn", f"{resnet_few} head_groups=3", (96, 96), 2, 0.5),
    }
    large = {
        "ssd300_vgg16": (functools.partial(full, "ssd300_vgg16", False), "ssd300_vgg16", "", (300, 300), 1, 0.1),
        "ssdlite320_mobilenet_v3_large": (functools.partial(full, "ssdlite320_mobilenet_v3_large", False), "ssdlite320_mobilenet_v3_large", "", (320, 320), 1, 0.5),
    }
    for name in ("retinanet_resnet50_fpn", "fcos_resnet50_fpn"):
        for freeze in (True, False):
            large[name + ("" if freeze else "/batch")] = (functools.partial(full, name, freeze), name, f"norm={'frozen' if freeze else 'batch'}", (257, 287), 1, 0.5)
    large["retinanet_resnet50_fpn_v2"] = (functools.partial(full, "retinanet_resnet50_fpn_v2", False), "retinanet_resnet50_fpn_v2", "", (256, 288), 1, 0.5)
    return large, small


def heads_of(model):
    return next(names for kind, names in HEADS.items() if model.startswith(kind))


def seeded(make, model, b, seed):
    """Weights as the network starts, but with statistics, scales and shifts that matter, and heads whose scores differ."""
    torch.manual_seed(seed)
    net = make()
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm2d, FrozenBatchNorm2d)):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
            module.bias.data += torch.where(torch.rand_like(module.bias) < 0.75, 1.0, -1.0)
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked.fill_(3)
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    with torch.no_grad():
        if hasattr(net.backbone, "scale_weight"):
            net.backbone.scale_weight.copy_(20 + torch.randn_like(net.backbone.scale_weight))
        settle_norms(net, model, b)
        settle_heads(net, model, b)
        for t in net.state_dict().values():
            t.copy_(t.bfloat16() if t.is_floating_point() else t)  # the golden file has half as many bytes
    return net


def settle_norms(net, model, b):
    """Running statistics near the pictures' own: with others what ReLU6 sees is so large that rounding decides."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.momentum = 1.0
    seen = in_f32(net.train(), b, torch.float32)
    run(seen, model, targets_of(b, torch.float32))
    for m, own in zip(norms, (m for m in seen.modules() if isinstance(m, nn.BatchNorm2d))):
        m.running_mean.copy_(own.running_mean)
        m.running_var.copy_(own.running_var)
    for m, momentum in zip(norms, momenta):
        m.momentum = momentum
        m.running_mean += torch.randn_like(m.running_mean) * 0.1 * m.running_var.sqrt()
        m.running_var *= torch.empty_like(m.running_var).uniform_(0.7, 1.4)
        m.num_batches_tracked.fill_(3)


def settle_heads(net, model, b):
    """The heads say numbers of a deviation that tells scores apart, and none near 1, where f32 has equal ones."""
    said, _, _ = run(in_f32(net.eval(), b, torch.float32), model, None)
    for name, calls in said.items():
        module, is_class = net.get_submodule(name), "classification" in name
        module.weight *= (1.0 if is_class else 0.4) / torch.cat([t.flatten() for t in calls]).std()
        nn.init.normal_(module.bias, 0, 0.3)
        if is_class and not model.startswith("ssd"):
            module.bias -= 2
            module.bias[:: CLASSES + 1] = -40  # background


def batch(canvas, enlarge, fixed, seed):
    """Two pictures of odd sizes on one canvas, or of the canvas's own; the second has an object less, a third place none."""
    torch.manual_seed(seed)
    h, w = canvas
    sizes = torch.tensor([[h, w], [h, w]]).float() if fixed else torch.tensor([[h - 7.0, w - 25.0], [h - 29.0, w - 3.0]])
    small = torch.randint(0, 256, (2, 3, -(-h // enlarge), -(-w // enlarge)), dtype=torch.uint8)
    image = large_of(small, enlarge)[:, :, :h, :w]
    counts, most = torch.tensor([6, 5]), 8
    boxes, labels = torch.zeros(2, most, 4), torch.zeros(2, most, dtype=torch.int64)
    for i in range(2):
        y, x = sizes[i].int().tolist()
        for k in range(counts[i]):
            side = torch.rand(2) * torch.tensor([x, y]) * 0.4 + torch.tensor([x, y]) * 0.1
            at = torch.rand(2) * (torch.tensor([x, y]) - side)
            boxes[i, k] = torch.cat([at, at + side])
            labels[i, k] = torch.randint(0, CLASSES, ())
    return {"image": image, "image_size": sizes, "boxes": boxes, "box_labels": labels, "counts": counts}, small


def large_of(small, enlarge):
    return small.repeat_interleave(enlarge, 2).repeat_interleave(enlarge, 3)


# ---- the oracle ----


class Given(nn.Module):
    """In place of torchvision's resizing and normalisation: pictures as they are, on their canvas."""

    def __init__(self, images):
        super().__init__()
        self.images = images

    def forward(self, _, targets):
        return self.images, targets

    def postprocess(self, result, *_):
        return result


class InF32(nn.Module):
    def __init__(self, generator):
        super().__init__()
        self.generator = generator
        self.num_anchors_per_location = generator.num_anchors_per_location

    def forward(self, images, maps):
        self.made = self.generator(images, [m.float() for m in maps])
        return [a.to(maps[0].dtype) for a in self.made]


def in_f32(net, b, dtype):
    net = copy.deepcopy(net).to(dtype)
    net.anchor_generator = InF32(net.anchor_generator)
    images = ImageList((b["image"].float() / 255).to(dtype), [tuple(s) for s in b["image_size"].int().tolist()])
    net.transform = Given(images)
    return net


def run(net, model, targets):
    """What the heads say, layer by layer and as a whole, and the detections or losses."""
    said, whole, hooks = {}, {}, []
    for name in heads_of(model).split():
        hooks.append(net.get_submodule(name).register_forward_hook(lambda m, a, r, name=name: said.setdefault(name, []).append(r.detach())))
    hooks.append(net.head.register_forward_hook(lambda m, a, r: whole.update(r)))
    overlap = ssd.box_ops.box_iou
    ssd.box_ops.box_iou = lambda a, b: overlap(a.float(), b.float())
    try:
        found = net(list(net.transform.images.tensors), targets)
    finally:
        ssd.box_ops.box_iou = overlap
    for h in hooks:
        h.remove()
    return said, whole, found


def oracle(net, model, b, lr, dtype):
    net = in_f32(net, b, dtype)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with torch.no_grad():
        said, whole, found = run(net.eval(), model, None)
    trained, _, losses = run(net.train(), model, targets_of(b, dtype))
    sum(losses.values()).backward()
    with torch.no_grad():
        for p in net.parameters():
            if p.grad is not None:
                p -= lr * p.grad
    after = net.state_dict()
    return said, whole, found, trained, losses, {k: after[k].double() - before[k].double() for k in before}


# ---- the comparison ----


def worst_head(said, mine):
    """The farthest that a head's output is off, of its largest."""
    worst = 0.0
    for name, calls in said.items():
        largest = max(t.abs().max() for t in calls)
        for i, t in enumerate(calls):
            worst = max(worst, ((mine[f"layer.{name}.{i}"].double() - t).abs().max() / largest).item())
    return worst


class Says(nn.Module):
    """A head that says what another one said; its losses are torchvision's."""

    def __init__(self, head, outputs):
        super().__init__()
        self.head, self.outputs = head, outputs
        if hasattr(head, "compute_loss"):
            self.compute_loss = head.compute_loss

    def forward(self, maps):
        return self.outputs


def as_rows(mine, model):
    """Our heads' layers as the outputs of torchvision's head."""
    rows = {"cls_logits": [], "bbox_regression": [], "bbox_ctrness": []}
    for name in heads_of(model).split():
        kind = "bbox_ctrness" if "ctrness" in name else "bbox_regression" if "regression" in name else "cls_logits"
        columns = {"cls_logits": CLASSES + 1, "bbox_regression": 4, "bbox_ctrness": 1}[kind]
        for i in range(8):
            if f"layer.{name}.{i}" in mine:
                t = mine[f"layer.{name}.{i}"]
                t = torch.relu(t) if model.startswith("fcos") and kind == "bbox_regression" else t
                rows[kind].append(t.view(len(t), -1, columns, *t.shape[2:]).permute(0, 3, 4, 1, 2).reshape(len(t), -1, columns))
    return {k: torch.cat(v, 1) for k, v in rows.items() if v}


def apart(net, b, mine, model, train):
    """torchvision's detections or losses in f32, of our heads' outputs."""
    net = in_f32(net, b, torch.float32)
    net.head = Says(net.head, as_rows(mine, model))
    with torch.no_grad():
        net.train(train)
        return net(list(net.transform.images.tensors), targets_of(b, torch.float32) if train else None)


def loss_error(losses, mine):
    return max(abs(mine[f"loss_{k}"].item() - v.item()) / max(abs(v.item()), 1e-3) for k, v in losses.items())


def clear(found):
    """No two scores of a picture are so near that another machine's rounding could swap them."""
    return all((f["scores"][:-1] - f["scores"][1:]).min() > 1e-5 for f in found if len(f["scores"]) > 1)


def compare(program, label, case, seed, narrow):
    make, model, settings, canvas, enlarge, lr = case
    b, small = batch(canvas, enlarge, model.startswith("ssd"), seed)
    net = seeded(make, model, b, seed)
    fields = {"model": text(model), "settings": text(settings), "classes": torch.tensor(CLASSES), "lr": torch.tensor(lr), "capture": text(heads_of(model))} | b
    fields |= {f"param.{k}": v.bfloat16() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    name = label.replace("/", "-")
    fields = {f"{name}/{k}": v.contiguous() for k, v in fields.items()}
    said, _, found, _, losses, theirs = oracle(net, model, b, lr, torch.float64)
    own = oracle(net, model, b, lr, torch.float32)
    mine, step = ours(program, "eval", fields), ours(program, "train", fields)
    heads, boxes = worst_head(said, mine), check_found(found, mine)
    same = check_found(apart(net, b, mine, model, False), mine)
    loss, same_loss = loss_error(losses, step), loss_error(apart(net, b, step, model, True), step)
    before = {k: v.double() for k, v in net.state_dict().items()}
    off, f32 = distances(theirs, {k: step[f"after.{k}"].double() - before[k] for k in before}), distances(theirs, own[5])
    over, d, bound, k = max((d / max(2e-3, 2 * f32[k]), d, max(2e-3, 2 * f32[k]), k) for k, d in off.items())
    print(f"    heads {heads:.1e}, {sum(len(f['boxes']) for f in found)} detections off by {boxes:.1e} (apart {same:.1e}), losses by {loss:.1e} (apart {same_loss:.1e}): " + ", ".join(f"{k} {v.item():.5f}" for k, v in losses.items()))
    print(f"    change {d:.1e} of at most {bound:.1e} in {k}", flush=True)
    good = heads <= 1e-4 and boxes <= 1e-2 and same <= 1e-3 and loss <= 1e-4 and same_loss <= 1e-5 and over <= 1
    good &= not narrow or heads <= 2e-5 and boxes <= 2e-3 and d <= 1e-3 and clear(found)
    expected = {f"expect.loss_{k}": v.float() for k, v in losses.items()} | {f"change.{k}": v.float() for k, v in theirs.items()}
    for i, f in enumerate(found):
        expected |= {f"expect.{what}.{i}": f[what].float() if what != "labels" else f[what] - 1 for what in f}
    golden = fields | {f"{name}/{k}": v.contiguous() for k, v in expected.items()}
    if enlarge > 1:
        golden |= {f"{name}/image": small.contiguous(), f"{name}/enlarge": torch.tensor([enlarge, *canvas])}
    return good and sum(len(f["boxes"]) for f in found) > 0, golden


def check(program, label, case, tries, narrow):
    print(label, flush=True)
    for seed in range(7, 7 + tries):
        good, golden = compare(program, label, case, seed, narrow)
        if good:
            return golden
    print(f"{label} FAILS")
    return None


# ---- a network that was trained ----


def model_of(run_folder):
    lines = (run_folder / "config.ini").read_text().split("[model]")[1].splitlines()
    return next(line.split("=", 1)[1].strip() for line in lines if line.startswith("name"))


def trained(cvrun, run_folder, pictures):
    """Detections above 0.05 of both, picture by picture: classes and scores to 1e-4, boxes to 0.02 pixels."""
    classes = len((run_folder / "classes.txt").read_text().splitlines())
    net = getattr(torchvision.models.detection, model_of(run_folder))(weights=None, weights_backbone=None, num_classes=classes + 1).eval()
    net.load_state_dict(load_file(run_folder / "weights/best.safetensors"), strict=True)
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([cvrun, "predict", run_folder, f"source={pictures}", f"predict.out={out}", "predict.conf=0.05", "predict.max_det=300"], check=True, stdout=subprocess.DEVNULL)
        mine = json.loads((pathlib.Path(out) / "predictions.json").read_text())
    worst_box, worst_score, n = 0.0, 0.0, 0
    for m in mine:
        with torch.no_grad():
            found = net([torchvision.io.decode_image(m["file"], "RGB").float() / 255])[0]
        left = [j for j in range(len(found["scores"])) if found["scores"][j] > 0.05]
        if len(left) != len(m["boxes"]):
            print(f"{m['file']}: {len(m['boxes'])} detections, torchvision's {len(left)}")
        for d in m["boxes"]:
            near = [j for j in left if int(found["labels"][j]) - 1 == d["index"] and abs(found["scores"][j].item() - d["score"]) < 1e-4]
            assert near, (m["file"], d)
            off = lambda j: (found["boxes"][j] - torch.tensor(d["xyxy"])).abs().max().item()
            j = min(near, key=off)
            left.remove(j)
            worst_box, worst_score, n = max(worst_box, off(j)), max(worst_score, abs(found["scores"][j].item() - d["score"])), n + 1
        assert all(found["scores"][j] < 0.0501 for j in left), m["file"]
    print(f"{n} detections in {len(mine)} pictures: boxes off by {worst_box:.1e} pixels, scores by {worst_score:.1e}")
    return n > 0 and worst_box <= 0.02


def main():
    if sys.argv[1] == "--trained":
        sys.exit(not trained(sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4]))
    program, wanted = sys.argv[1], [a for a in sys.argv[2:] if not a.startswith("-")]
    large, small = cases()
    torch.set_num_threads(1)
    good, golden = True, {}
    for label, case in small.items() if "--narrow" in sys.argv or "--write" in sys.argv else ():
        if wanted and label not in wanted:
            continue
        found = check(program, label, case, 16, True)
        good &= found is not None
        golden |= found or {}
    if golden and "--write" in sys.argv:
        written = {key.split("/")[0] for key in golden}
        others = {key: t for key, t in load_file(GOLDEN).items() if key.split("/")[0] not in written} if wanted and GOLDEN.exists() else {}
        save_file(others | golden, GOLDEN)
    for label, case in large.items():
        if "--narrow" not in sys.argv and (not wanted or label in wanted):
            good &= check(program, label, case, 3, False) is not None
    sys.exit(not good)


if __name__ == "__main__":
    main()
