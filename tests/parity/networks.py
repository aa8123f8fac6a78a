"""The networks that PyTorch runs beside cvrun's and torchvision does not have, under the names of cvrun's parameters."""
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
        if isinstance(module, (nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0
    return net
