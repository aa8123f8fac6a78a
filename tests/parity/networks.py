"""The networks that PyTorch runs beside cvrun's and torchvision does not have, under the names of cvrun's parameters."""
import collections
import torch, torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models import mobilenetv3, resnet, segmentation
from torchvision.models._utils import IntermediateLayerGetter


class Demo(nn.Module):
    """apps/recipes/fashion-mnist.ini without its dropout. x: (N, 1, 28, 28)"""

    def __init__(self):
        super().__init__()
        for i, (c_in, c_out) in enumerate([(1, 32), (32, 64)], 1):
            setattr(self, f"conv{i}", nn.Conv2d(c_in, c_out, 3, padding=1, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(c_out))
        self.fc1 = nn.Linear(64 * 7 * 7, 128)
        self.out = nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(torch.relu(self.bn2(self.conv2(x))), 2)
        return self.out(torch.relu(self.fc1(x.flatten(1))))


class Article(nn.Module):
    """apps/recipes/article.ini. x: (N, 3, 224, 224)"""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, padding=1)
        self.fc = nn.Linear(64 * 112 * 112, 10)

    def forward(self, x):
        return self.fc(F.max_pool2d(torch.relu(self.conv(x)), 2).flatten(1))


class SmallCnn(nn.Module):
    """SMALL_CNN of tests/bench/against_pytorch.py. x: (N, 1, 28, 28)"""

    def __init__(self, classes=10):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.l1, self.l2 = nn.Linear(9216, 128), nn.Linear(128, classes)

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.c2(torch.relu(self.c1(x)))), 2)
        return self.l2(torch.relu(self.l1(x.flatten(1))))


class NarrowResNet(resnet.ResNet):
    """torchvision's ResNet with another width, other stages, CIFAR's stem and dilated stages on request."""

    def __init__(self, block, layers, width, cifar, num_classes, groups=1, width_per_group=64, dilate=(False, False, False, False)):
        super().__init__(block, [1, 1, 1, 1], num_classes=num_classes)
        self.inplanes, self.groups, self.base_width = width, groups, width_per_group
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False) if cifar else nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        if cifar:
            self.maxpool = nn.Identity()
        for i in range(4):
            stage = self._make_layer(block, width << i, layers[i], stride=1 if i == 0 else 2, dilate=dilate[i]) if i < len(layers) else nn.Identity()
            setattr(self, f"layer{i + 1}", stage)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.fc = nn.Linear((width << (len(layers) - 1)) * block.expansion, num_classes)


class DoubleConv(nn.Module):
    def __init__(self, c_in, c_out, bn):
        super().__init__()
        layers = []
        for c in (c_in, c_out):
            layers += [nn.Conv2d(c, c_out, 3, padding=1, bias=not bn), *([nn.BatchNorm2d(c_out)] if bn else []), nn.ReLU()]
        self.double_conv = nn.Sequential(*layers)

    def forward(self, x):
        return self.double_conv(x)


class UNet(nn.Module):
    """Ronneberger et al. 2015 with padding, under the usual names."""

    def __init__(self, width=64, depth=4, bn=True, classes=10):
        super().__init__()
        self.depth, self.inc = depth, DoubleConv(3, width, bn)
        for i in range(1, depth + 1):
            down, up, c = nn.Module(), nn.Module(), width << (depth - i)
            down.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(width << (i - 1), width << i, bn))
            up.up, up.conv = nn.ConvTranspose2d(2 * c, c, 2, 2), DoubleConv(2 * c, c, bn)
            setattr(self, f"down{i}", down)
            setattr(self, f"up{i}", up)
        self.outc = nn.Module()
        self.outc.conv = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        skips = [self.inc(x)]
        for i in range(1, self.depth + 1):
            skips.append(getattr(self, f"down{i}").maxpool_conv(skips[-1]))
        x = skips.pop()
        for i in range(1, self.depth + 1):
            up = getattr(self, f"up{i}")
            x = up.conv(torch.cat([skips.pop(), up.up(x)], 1))
        return self.outc.conv(x)


# ---- a class for each pixel ----


def dense(backbone, out, classifier, aux=None, aux_head=None):
    """torchvision's FCN and DeepLabV3 of any parts: `out` and `aux` name children of the backbone."""
    layers = {out: "out", **({aux: "aux"} if aux else {})}
    return segmentation.fcn.FCN(IntermediateLayerGetter(backbone, layers), classifier, aux_head)


def deeplab_head(c_in, classes, channels=256, rates=(12, 24, 36)):
    """torchvision's DeepLabHead with other channels."""
    tail = [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, classes, 1)]
    return nn.Sequential(segmentation.deeplabv3.ASPP(c_in, rates, channels), *tail)


def dilated_resnet(layers, width, flags=(False, True, True)):
    return NarrowResNet(resnet.Bottleneck, layers, width, False, 4, dilate=(False, *flags))


def narrow_fcn(width, classes):
    head = segmentation.fcn.FCNHead
    return dense(dilated_resnet([1, 1, 2, 2], width), "layer4", head(32 * width, classes), "layer3", head(16 * width, classes))


def narrow_deeplab(width, channels, rates, classes):
    aux = segmentation.fcn.FCNHead(16 * width, classes)
    return dense(dilated_resnet([1, 2, 1, 1], width), "layer4", deeplab_head(32 * width, classes, channels, rates), "layer3", aux)


def dilated_mobilenet(width_mult):
    return mobilenetv3.MobileNetV3(*mobilenetv3._mobilenet_v3_conf("mobilenet_v3_large", width_mult=width_mult, dilated=True)).features


def narrow_deeplab_mobilenet(width_mult, channels, rates, classes):
    features = dilated_mobilenet(width_mult)
    aux = segmentation.fcn.FCNHead(features[4].out_channels, classes)
    return dense(features, "16", deeplab_head(features[16].out_channels, classes, channels, rates), "4", aux)


def narrow_lraspp(width_mult, channels, classes):
    features = dilated_mobilenet(width_mult)
    low, high = features[4].out_channels, features[16].out_channels
    return segmentation.LRASPP(IntermediateLayerGetter(features, {"4": "low", "16": "high"}), low, high, classes, channels)


def bilinear(x, like, align_corners=False):
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=align_corners)


class UnetOnResNet(nn.Module):
    """Unet of segmentation_models.pytorch without its library, of any widths; stem's features and four stages go in beside the way up."""

    def __init__(self, encoder, widths, channels, classes):
        super().__init__()
        self.encoder, self.decoder = encoder, nn.Module()
        del self.encoder.fc
        self.decoder.blocks = nn.ModuleList()
        c_in = widths[-1]
        for i, c in enumerate(channels):
            block = nn.Module()
            block.conv1 = self.conv(c_in + (widths[-2 - i] if i < 4 else 0), c)
            block.conv2 = self.conv(c, c)
            self.decoder.blocks.append(block)
            c_in = c
        self.segmentation_head = nn.Sequential(nn.Conv2d(c_in, classes, 3, padding=1))

    @staticmethod
    def conv(c_in, c_out):
        return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU())

    def forward(self, x):
        e, image = self.encoder, x
        skips = [torch.relu(e.bn1(e.conv1(x)))]
        x = e.maxpool(skips[0])
        for i in range(1, 5):
            x = getattr(e, f"layer{i}")(x)
            skips.append(x)
        x = skips.pop()
        for block in self.decoder.blocks:
            skip = skips.pop() if skips else None
            x = F.interpolate(x, size=(image if skip is None else skip).shape[-2:], mode="nearest")
            x = block.conv2(block.conv1(x if skip is None else torch.cat([x, skip], 1)))
        return self.segmentation_head(x)


class PspNet(nn.Module):
    """hszhao/semseg's PSPNet, in training with its auxiliary logits in place of losses. x: (N, 3, 8 k + 1, 8 l + 1)"""

    aux_share = 0.4

    def __init__(self, layers, width, bins, classes):
        super().__init__()
        block, c = resnet.Bottleneck, 32 * width
        stem = [(3, width, 2), (width, width, 1), (width, 2 * width, 1)]
        parts = [[nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()] for i, o, s in stem]
        self.layer0 = nn.Sequential(*sum(parts, []), nn.MaxPool2d(3, 2, 1))
        c_in = 2 * width
        for i, n in enumerate(layers):
            planes, dilation, stage = width << i, (1, 1, 2, 4)[i], []
            for k in range(n):
                stride, down = 2 if i == 1 and k == 0 else 1, None
                if k == 0:
                    down = nn.Sequential(nn.Conv2d(c_in, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes))
                stage.append(block(c_in, planes, stride, down, 1, 64, dilation))
                c_in = 4 * planes
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.ppm = nn.Module()
        pool = lambda b: nn.Sequential(nn.AdaptiveAvgPool2d(b), nn.Conv2d(c, c // len(bins), 1, bias=False), nn.BatchNorm2d(c // len(bins)), nn.ReLU())
        self.ppm.features = nn.ModuleList(pool(b) for b in bins)
        head = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.Dropout2d(0.1), nn.Conv2d(o, classes, 1))
        self.cls, self.aux = head(2 * c, c // 4), head(c // 2, c // 8)

    def forward(self, x):
        image = x
        x = self.layer3(self.layer2(self.layer1(self.layer0(x))))
        aux, x = self.aux(x), self.layer4(x)
        x = torch.cat([x, *(bilinear(f(x), x, True) for f in self.ppm.features)], 1)
        return {"out": bilinear(self.cls(x), image, True), "aux": bilinear(aux, image, True)}


class PaddedBlock(nn.Module):
    """VainF's inverted residual: zeros around its input, none around its convolutions."""

    def __init__(self, c_in, c_out, stride, dilation, t):
        super().__init__()
        hidden, self.dilation, self.residual = c_in * t, dilation, stride == 1 and c_in == c_out
        unit = lambda i, o, k, **more: nn.Sequential(nn.Conv2d(i, o, k, bias=False, **more), nn.BatchNorm2d(o, momentum=0.01), nn.ReLU6())
        first = [unit(c_in, hidden, 1)] if t != 1 else []
        depthwise = unit(hidden, hidden, 3, stride=stride, dilation=dilation, groups=hidden)
        self.conv = nn.Sequential(*first, depthwise, nn.Conv2d(hidden, c_out, 1, bias=False), nn.BatchNorm2d(c_out, momentum=0.01))

    def forward(self, x):
        y = self.conv(F.pad(x, (self.dilation,) * 4))
        return x + y if self.residual else y


def padded_mobilenet(width_mult, output_stride):
    """VainF's MobileNetV2 as its DeepLabV3+ has it, and the channels of its two results."""
    wide = lambda c: torchvision.models.mobilenetv2._make_divisible(c * width_mult, 8)
    c_in, stride, dilation = wide(32), 2, 1
    blocks = [nn.Sequential(nn.Conv2d(3, c_in, 3, 2, bias=False), nn.BatchNorm2d(c_in, momentum=0.01), nn.ReLU6())]
    widths = [c_in]
    for t, c, n, s in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        former = dilation
        if stride == output_stride:
            dilation, s = dilation * s, 1
        stride *= s
        for i in range(n):
            blocks.append(PaddedBlock(c_in, wide(c), s if i == 0 else 1, former if i == 0 else dilation, t))
            c_in = wide(c)
            widths.append(c_in)
    for module in nn.Sequential(*blocks).modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    net = nn.Module()
    named = [(str(i), b) for i, b in enumerate(blocks)]
    net.low_level_features = nn.Sequential(collections.OrderedDict(named[:4]))
    net.high_level_features = nn.Sequential(collections.OrderedDict(named[4:]))
    return net, widths[3], widths[-1]


class DeepLabV3Plus(nn.Module):
    """VainF's DeepLabV3+ on a ResNet (4 stages) or on padded_mobilenet."""

    def __init__(self, backbone, low, high, rates, channels, low_channels, classes):
        super().__init__()
        self.backbone, self.classifier = backbone, nn.Module()
        head = self.classifier
        head.project = nn.Sequential(nn.Conv2d(low, low_channels, 1, bias=False), nn.BatchNorm2d(low_channels), nn.ReLU())
        head.aspp = segmentation.deeplabv3.ASPP(high, rates, channels)
        head.classifier = nn.Sequential(nn.Conv2d(low_channels + channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, classes, 1))
        for module in head.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def features(self, x):
        b = self.backbone
        if hasattr(b, "low_level_features"):
            low = b.low_level_features(x)
            return low, b.high_level_features(low)
        low = b.layer1(b.maxpool(torch.relu(b.bn1(b.conv1(x)))))
        return low, b.layer4(b.layer3(b.layer2(low)))

    def forward(self, x):
        low, high = self.features(x)
        low, high = self.classifier.project(low), self.classifier.aspp(high)
        return bilinear(self.classifier.classifier(torch.cat([low, bilinear(high, low)], 1)), x)


def deeplabv3plus(name, classes, output_stride=16, layers=None, width=64, width_mult=1, channels=256, low_channels=48, rates=None):
    rates = rates or ((6, 12, 18) if output_stride == 16 else (12, 24, 36))
    if name.endswith("mobilenet_v2"):
        return DeepLabV3Plus(*padded_mobilenet(width_mult, output_stride), rates, channels, low_channels, classes)
    layers = layers or ([3, 4, 23, 3] if name.endswith("101") else [3, 4, 6, 3])
    backbone = dilated_resnet(layers, width, (False, output_stride == 8, True))
    del backbone.fc
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.01
    return DeepLabV3Plus(backbone, 4 * width, 32 * width, rates, channels, low_channels, classes)


def make(name, classes, size=224):
    """By cvrun's name of the model, as torchvision has it or from above."""
    if name == "small_cnn":
        return SmallCnn(classes)
    if name == "unet":
        return UNet(classes=classes)
    if name == "resnet18_cifar":
        return NarrowResNet(resnet.BasicBlock, [2, 2, 2, 2], 64, True, classes)
    if hasattr(segmentation, name):
        more = {} if name.startswith("lraspp") else {"aux_loss": True}
        return getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=classes, **more)
    more = {"image_size": size} if name.startswith("vit") else {}
    return getattr(torchvision.models, name)(num_classes=classes, **more)


def without_chance(net):
    """No dropout and no stochastic depth: cvrun draws other numbers."""
    for module in net.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d, torchvision.ops.StochasticDepth)):
            module.p = 0.0
    return net
