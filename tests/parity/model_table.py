"""What every model of torchvision, timm and others that cvrun has is made of: names, shapes, numbers of parameters and multiplications.

usage: model_table.py [MODEL]

Writes tests/golden/model_table.txt, which tests/models/zoo_test.c reads: a line a model, with
  name, side of the pictures, classes, tensors of the state dict, parameters, GMACs, hash
Parameters and GMACs are what torchvision publishes with its weights; the others publish no GMACs, so these are counted. The hash is
FNV-1a over "NAME TYPE SIZE,SIZE\\n" of every tensor, sorted by name. With a MODEL its tensors are printed instead.
Auxiliary classifiers are in the parameters, not in the GMACs; those of a class for each pixel are in both. No weights are made: everything is on the meta device. Needs torch, torchvision, timm and
segmentation-models-pytorch.
"""
import pathlib, sys, warnings
import segmentation_models_pytorch, timm, torch, torchvision
import detectors_two, networks, yolox_network
from torch.utils.flop_counter import FlopCounterMode

warnings.simplefilter("ignore")
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden/model_table.txt"
TORCHVISION = """resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2
wide_resnet101_2 vgg11 vgg13 vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn vgg19_bn googlenet inception_v3 mobilenet_v2
mobilenet_v3_large mobilenet_v3_small efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4
efficientnet_b5 efficientnet_b6 efficientnet_b7 densenet121 densenet161 densenet169 densenet201 convnext_tiny convnext_small
convnext_base convnext_large vit_b_16 vit_b_32 vit_l_16 vit_l_32 swin_t swin_s swin_b""".split()
TIMM = """deit_tiny_patch16_224 deit_small_patch16_224 deit_base_patch16_224 deit_tiny_distilled_patch16_224
deit_small_distilled_patch16_224 deit_base_distilled_patch16_224 vit_small_patch16_224""".split()
SEGMENT = """fcn_resnet50 fcn_resnet101 deeplabv3_resnet50 deeplabv3_resnet101 deeplabv3_mobilenet_v3_large
lraspp_mobilenet_v3_large""".split()
OTHERS = """unet_resnet34 unet_resnet50 pspnet_resnet50 pspnet_resnet101 deeplabv3plus_resnet50 deeplabv3plus_resnet101
deeplabv3plus_mobilenet_v2""".split()  # segmentation_models.pytorch's, and what networks.py states anew
RCNN = """fasterrcnn_resnet50_fpn fasterrcnn_resnet50_fpn_v2 fasterrcnn_mobilenet_v3_large_fpn fasterrcnn_mobilenet_v3_large_320_fpn
maskrcnn_resnet50_fpn maskrcnn_resnet50_fpn_v2""".split()
ONE_STAGE = """ssd300_vgg16 ssdlite320_mobilenet_v3_large retinanet_resnet50_fpn retinanet_resnet50_fpn_v2 fcos_resnet50_fpn""".split()
YOLOX = [f"yolox_{size}" for size in yolox_network.MODELS]
TYPES = {torch.float32: "f32", torch.int64: "i64"}


def text_of(net):
    return "".join(f"{k} {TYPES[v.dtype]} {','.join(map(str, v.shape))}\n" for k, v in sorted(net.state_dict().items()))


def fnv(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def other(name):
    kind, depth = name.split("_", 1)
    if kind == "unet":
        return segmentation_models_pytorch.Unet(depth, encoder_weights=None, classes=21)
    if kind == "pspnet":
        return networks.PspNet([3, 4, 23 if depth == "resnet101" else 6, 3], 64, (1, 2, 3, 6), 21)
    return networks.deeplabv3plus(depth, 21)


def make(name):
    """The network on the meta device, side of its pictures, classes, parameters, GMACs (None: not published)."""
    if name in RCNN:
        return two_stage(name)
    if name in ONE_STAGE:
        return one_stage(name)
    if name in YOLOX:
        with torch.device("meta"):
            net = yolox_network.make(name.removeprefix("yolox_"), 80)
        return net, 416 if name.endswith(("nano", "tiny")) else 640, 80, sum(p.numel() for p in net.parameters()), None
    with torch.device("meta"):
        if name in TIMM:
            net = timm.create_model(name)
            return net, 224, 1000, sum(p.numel() for p in net.parameters()), None
        if name in OTHERS:
            net = other(name)
            return net, 473 if name.startswith("pspnet") else 512, 21, sum(p.numel() for p in net.parameters()), None
        if name in SEGMENT:
            aux = {} if name.startswith("lraspp") else {"aux_loss": True}
            net = torchvision.models.get_model(name, weights=None, weights_backbone=None, **aux)
            weights = torchvision.models.get_model_weights(name).DEFAULT
            return net, weights.transforms().resize_size[0], len(weights.meta["categories"]), weights.meta["num_params"], weights.meta["_ops"]
        more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        net = torchvision.models.get_model(name, **more)
    weights = next(w for w in torchvision.models.get_model_weights(name) if w.name == "IMAGENET1K_V1")
    params = weights.meta["num_params"]
    if name == "googlenet":  # published without the auxiliary classifiers, which the file of the weights has
        params += sum(p.numel() for aux in (net.aux1, net.aux2) for p in aux.parameters())
    return net, weights.transforms().crop_size[0], 1000, params, weights.meta["_ops"]


def two_stage(name):
    """A detector of two stages whose body has frozen norms, as torchvision makes it for pretrained weights. GMACs are those of as many
    proposals as it looks at and detections as it may find: torchvision publishes those of one picture."""
    with torch.device("meta"):
        net = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=91).eval()
        if not name.endswith("_v2"):
            detectors_two.frozen(net.backbone.body)
        heads, side, regions, found = net.roi_heads, 320, net.rpn.post_nms_top_n(), net.roi_heads.detections_per_img
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.rpn.head(list(net.backbone(torch.empty(1, 3, side, side)).values()))
            heads.box_predictor(heads.box_head(torch.empty(regions, 256, 7, 7)))
            if heads.has_mask():
                heads.mask_predictor(heads.mask_head(torch.empty(found, 256, 14, 14)))
    published = torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]
    return net, side, 90, published, counter.get_total_flops() / 2e9


def one_stage(name):
    """A detector of one stage, likewise; SSD's GMACs are published for pictures of this side, the others' are counted."""
    with torch.device("meta"):
        net = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=91).eval()
        if not name.startswith("ssd") and not name.endswith("_v2"):
            detectors_two.frozen(net.backbone.body)
        side = 300 if name.startswith("ssd300") else 320
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.head(list(net.backbone(torch.empty(1, 3, side, side)).values()))
    published = torchvision.models.get_model_weights(name).DEFAULT.meta
    return net, side, 90, published["num_params"], published["_ops"] if name.startswith("ssd") else counter.get_total_flops() / 2e9


def counted(net, side):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.empty(1, 3, side, side, device="meta"))
    return counter.get_total_flops() / 2e9


def main():
    if len(sys.argv) > 1:
        print(text_of(make(sys.argv[1])[0]), end="")
        return
    lines = []
    for name in TORCHVISION + TIMM + SEGMENT + OTHERS + RCNN + ONE_STAGE + YOLOX:
        net, side, classes, params, gmacs = make(name)
        text = text_of(net)
        gmacs = counted(net, side) if gmacs is None else gmacs
        lines.append(f"{name} {side} {classes} {len(net.state_dict())} {params} {gmacs:.3f} {fnv(text):016x}\n")
        print(lines[-1], end="", flush=True)
    GOLDEN.write_text("".join(lines))


if __name__ == "__main__":
    main()
