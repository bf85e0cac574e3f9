"""CNN-GRU, I3D and 3D ResNeXt from torch's own layers: what ours are compared with, on equal weights.

Each takes normalised clips (B, 3, T, H, W), gives logits, and names its tensors as the published files do, so that
`import_weights` reads its state dict; `fill_cnn_gru` does so for CNN-GRU, of which nothing is published. Video Swin is
in `benchmarks.video_swin_torch`.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

INCEPTION = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}


class CnnGru(nn.Module):
    """`har_tf.models.cnn_gru` with its defaults, without dropout."""

    def __init__(self, input_shape=(10, 128, 192, 3), num_classes=10, filters=(16, 32, 64), pools=(4, 4, 2)):
        super().__init__()
        _, height, width, channels = input_shape
        self.pools = pools
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for count, pool in zip(filters, pools, strict=True):
            self.convs.append(nn.Conv2d(channels, count, 3, padding=1, bias=False))
            self.norms.append(nn.BatchNorm2d(count, eps=1e-3, momentum=0.1))
            channels, height, width = count, height // pool, width // pool
        self.conv3d = nn.Conv3d(channels, 50, 3, padding=1)
        self.gru1 = nn.GRU(height * width * 50, 32, batch_first=True)
        self.gru2 = nn.GRU(32, 50, batch_first=True)
        self.dense, self.predictions = nn.Linear(50, 100), nn.Linear(100, num_classes)

    def forward(self, x):
        batch, _, time = x.shape[:3]
        x = x.transpose(1, 2).flatten(0, 1)  # (B·T, 3, H, W)
        for conv, norm, pool in zip(self.convs, self.norms, self.pools, strict=True):
            x = functional.max_pool2d(torch.relu(norm(conv(x))), pool)
        x = x.unflatten(0, (batch, time)).transpose(1, 2)
        x = torch.relu(self.conv3d(x)).permute(0, 2, 3, 4, 1).flatten(2)  # (B, T, h·w·50)
        _, state = self.gru2(self.gru1(x)[0])
        return self.predictions(torch.relu(self.dense(state[0])))


def fill_cnn_gru(model, module: CnnGru):
    """Gives `cnn_gru()` the weights of the module, and returns it."""
    array = lambda tensor: tensor.detach().numpy()  # noqa: E731
    for i, (conv, norm) in enumerate(zip(module.convs, module.norms, strict=True), start=1):
        model.get_layer(f"conv2d_{i}").kernel.assign(array(conv.weight).transpose(2, 3, 1, 0))
        parts = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        model.get_layer(f"bn_{i}").set_weights([array(part) for part in parts])
    kernel = array(module.conv3d.weight).transpose(2, 3, 4, 1, 0)
    model.get_layer("conv3d").set_weights([kernel, array(module.conv3d.bias)])
    for name in ("gru1", "gru2"):
        gru = getattr(module, name)
        units = gru.hidden_size
        order = torch.cat([torch.arange(units) + units * gate for gate in (1, 0, 2)])  # Keras: update, reset, new
        parts = (gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0)
        kernel, recurrent, *biases = (array(part[order]) for part in parts)
        model.get_layer(name).set_weights([kernel.T, recurrent.T, np.stack(biases)])
    for name in ("dense", "predictions"):
        linear = getattr(module, name)
        model.get_layer(name).set_weights([array(linear.weight).T, array(linear.bias)])
    return model


def _padded(x, sizes, strides):
    """Zeros as TensorFlow's "SAME" puts them, the odd one behind."""
    pads = []
    for length, size, stride in zip(x.shape[2:], sizes, strides, strict=True):
        total = max(size - (length % stride or stride), 0)
        pads = [total // 2, total - total // 2, *pads]  # torch lists the last axis first
    return functional.pad(x, pads) if any(pads) else x


class _Pool(nn.MaxPool3d):
    def forward(self, x):
        return super().forward(_padded(x, self.kernel_size, self.stride))


class _Unit(nn.Module):
    def __init__(self, channels, filters, size=1, stride=1, last=False):
        super().__init__()
        self.conv3d = nn.Conv3d(channels, filters, size, stride, bias=last)
        self.bn = None if last else nn.BatchNorm3d(filters, eps=0.001, momentum=0.1)

    def forward(self, x):
        x = self.conv3d(_padded(x, self.conv3d.kernel_size, self.conv3d.stride))
        return x if self.bn is None else torch.relu(self.bn(x))


class _Mixed(nn.Module):
    def __init__(self, channels, f0, f1a, f1b, f2a, f2b, f3):
        super().__init__()
        self.b0 = _Unit(channels, f0)
        self.b1a, self.b1b = _Unit(channels, f1a), _Unit(f1a, f1b, 3)
        self.b2a, self.b2b = _Unit(channels, f2a), _Unit(f2a, f2b, 3)
        self.b3a, self.b3b = _Pool((3, 3, 3), (1, 1, 1)), _Unit(channels, f3)

    def forward(self, x):
        return torch.cat((self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))), 1)


class I3D(nn.Module):
    """InceptionI3d of piergiaj/pytorch-i3d, without dropout: its padding is worked out for each input.

    Args:
        width: factor on the number of filters.
    """

    def __init__(self, num_classes=400, channels=3, width=1.0):
        super().__init__()
        few = lambda filters: max(1, round(width * filters))  # noqa: E731
        self.Conv3d_1a_7x7 = _Unit(channels, few(64), 7, 2)
        self.MaxPool3d_2a_3x3 = _Pool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = _Unit(few(64), few(64))
        self.Conv3d_2c_3x3 = _Unit(few(64), few(192), 3)
        self.MaxPool3d_3a_3x3 = _Pool((1, 3, 3), (1, 2, 2))
        inputs = few(192)
        for block, filters in INCEPTION.items():
            if block == "4b":
                self.MaxPool3d_4a_3x3 = _Pool((3, 3, 3), (2, 2, 2))
            if block == "5b":
                self.MaxPool3d_5a_2x2 = _Pool((2, 2, 2), (2, 2, 2))
            f0, f1a, f1b, f2a, f2b, f3 = map(few, filters)
            setattr(self, f"Mixed_{block}", _Mixed(inputs, f0, f1a, f1b, f2a, f2b, f3))
            inputs = f0 + f1b + f2b + f3
        self.logits = _Unit(inputs, num_classes, last=True)

    def forward(self, x):
        for name, stage in self.named_children():
            if name != "logits":
                x = stage(x)
        x = functional.avg_pool3d(x, (min(2, x.shape[2]), *x.shape[3:]), 1)
        return self.logits(x).squeeze(4).squeeze(3).mean(2)


class _Bottleneck(nn.Module):
    def __init__(self, channels, planes, stride, cardinality):
        super().__init__()
        inner = cardinality * (planes // 32)
        self.conv1 = nn.Conv3d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(inner)
        self.conv2 = nn.Conv3d(inner, inner, 3, stride, 1, groups=cardinality, bias=False)
        self.bn2 = nn.BatchNorm3d(inner)
        self.conv3 = nn.Conv3d(inner, 2 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(2 * planes)
        self.downsample = None
        if channels != 2 * planes or stride != 1:
            project = nn.Conv3d(channels, 2 * planes, 1, stride, bias=False)
            self.downsample = nn.Sequential(project, nn.BatchNorm3d(2 * planes))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class ResNeXt3D(nn.Module):
    """The network of 3D-ResNets-PyTorch (2018), written down from its paper with its names of parts.

    Args:
        blocks, width, cardinality: as those of `har_tf.models.resnext3d`; the default is depth 50.
    """

    def __init__(self, num_classes=400, blocks=(3, 4, 6, 3), width=128, cardinality=32):
        super().__init__()
        channels = width // 2
        self.conv1 = nn.Conv3d(3, channels, 7, (1, 2, 2), (3, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(channels)
        self.maxpool = nn.MaxPool3d(3, 2, 1)
        for stage, count in enumerate(blocks):
            planes, parts = width * 2**stage, []
            for block in range(count):
                parts.append(_Bottleneck(channels, planes, 2 if stage and not block else 1, cardinality))
                channels = 2 * planes
            setattr(self, f"layer{stage + 1}", nn.Sequential(*parts))
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3, 4)))
