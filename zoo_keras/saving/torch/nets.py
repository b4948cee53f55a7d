"""The nets of torchvision, built of Keras layers: where the windows lie, and which array is whose.

In: an architecture's name. Out: its output tensor, and the layer of each torch module. Layers have
the names of Keras' applications. These nets differ from those in places that change every number:
torch pads both sides alike, ResNet's steps are in its 3x3 convolutions, and epsilons differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from zoo_keras import layers


class Net:
    """Layers by the names of torch modules, while a net is built.

    Attributes:
        layers: module -> layer.
        turned: modules of dense layers that read flattened images -> (channels, rows, columns).
    """

    def __init__(self, classes: int, activation: Any) -> None:
        self.classes, self.activation = classes, activation
        self.layers: dict[str, Any] = {}
        self.turned: dict[str, tuple[int, int, int]] = {}

    def conv(self, x: Any, module: str, name: str, filters: int, size: int, stride: int = 1,
             bias: bool = False) -> Any:  # fmt: skip
        """A convolution padded by half its size on each side."""
        x, padding = _padded(x, size, stride, name)
        layer = layers.Conv2D(filters, size, stride, padding, use_bias=bias, name=name)
        self.layers[module] = layer
        return layer(x)

    def depthwise(self, x: Any, module: str, name: str, stride: int) -> Any:
        """A 3x3 convolution of each channel by itself."""
        x, padding = _padded(x, 3, stride, name)
        layer = layers.DepthwiseConv2D(3, stride, padding, use_bias=False, name=name)
        self.layers[module] = layer
        return layer(x)

    def norm(self, x: Any, module: str, name: str) -> Any:
        """Normalisation, with torch's epsilon and momentum."""
        layer = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)
        self.layers[module] = layer
        return layer(x)

    def dense(self, x: Any, module: str, name: str, units: int, activation: Any) -> Any:
        """A dense layer."""
        self.layers[module] = layer = layers.Dense(units, activation=activation, name=name)
        return layer(x)

    def top(self, x: Any, module: str) -> Any:
        """The mean over space, and the classes."""
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        return self.dense(x, module, "predictions", self.classes, self.activation)


def _padded(x: Any, size: int, stride: int, name: str) -> tuple[Any, str]:
    if size == 1:
        return x, "valid"
    if stride == 1:
        return x, "same"
    return layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x), "valid"


def _relu(x: Any, name: str) -> Any:
    return layers.ReLU(name=name)(x)


def _first_pool(x: Any) -> Any:
    """Maxima over 3x3; all are above 0, so zeros around them change nothing."""
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)


# ---- ResNet --------------------------------------------------------------------------------------


def _resnet(counts: Sequence[int], sizes: Sequence[int], net: Net, x: Any) -> Any:
    """Blocks of convolutions of these sizes beside a shortcut."""
    x = net.norm(net.conv(x, "conv1", "conv1_conv", 64, 7, 2), "bn1", "conv1_bn")
    x = _first_pool(_relu(x, "conv1_relu"))
    for group, count in enumerate(counts):
        for i in range(count):
            stride = 2 if group and not i else 1
            x = _resnet_block(net, x, sizes, group, i, stride)
    return net.top(x, "fc")


def _resnet_block(net: Net, x: Any, sizes: Sequence[int], group: int, i: int, stride: int) -> Any:
    module, name = f"layer{group + 1}.{i}.", f"conv{group + 2}_block{i + 1}_"
    filters = 64 << group
    end = filters if len(sizes) == 2 else 4 * filters
    shortcut = x
    if stride > 1 or x.shape[-1] != end:
        shortcut = net.conv(x, f"{module}downsample.0", f"{name}0_conv", end, 1, stride)
        shortcut = net.norm(shortcut, f"{module}downsample.1", f"{name}0_bn")
    turning = sizes.index(3)  # the first wide convolution takes the steps
    for n, size in enumerate(sizes):
        width = end if n == len(sizes) - 1 else filters
        step = stride if n == turning else 1
        x = net.conv(x, f"{module}conv{n + 1}", f"{name}{n + 1}_conv", width, size, step)
        x = net.norm(x, f"{module}bn{n + 1}", f"{name}{n + 1}_bn")
        if n < len(sizes) - 1:
            x = _relu(x, f"{name}{n + 1}_relu")
    return _relu(layers.Add(name=f"{name}add")([shortcut, x]), f"{name}out")


# ---- VGG -----------------------------------------------------------------------------------------


def _vgg(counts: Sequence[int], net: Net, x: Any) -> Any:
    place = 0
    for block, count in enumerate(counts, start=1):
        for i in range(1, count + 1):
            name = f"block{block}_conv{i}"
            x = net.conv(x, f"features.{place}", name, min(32 << block, 512), 3, bias=True)
            x = _relu(x, f"block{block}_relu{i}")
            place += 2
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
        place += 1
    net.turned["classifier.0"] = (x.shape[-1], x.shape[1], x.shape[2])
    x = layers.Flatten(name="flatten")(x)
    for module, name in (("classifier.0", "fc1"), ("classifier.3", "fc2")):
        x = layers.Dropout(0.5, name=f"{name}_drop")(net.dense(x, module, name, 4096, "relu"))
    return net.dense(x, "classifier.6", "predictions", net.classes, net.activation)


# ---- DenseNet ------------------------------------------------------------------------------------


def _densenet(counts: Sequence[int], first: int, growth: int, net: Net, x: Any) -> Any:
    x = net.conv(x, "features.conv0", "conv1_conv", first, 7, 2)
    x = _first_pool(_relu(net.norm(x, "features.norm0", "conv1_bn"), "conv1_relu"))
    for group, count in enumerate(counts, start=1):
        if group > 1:
            x = _transition(net, x, group - 1)
        for i in range(1, count + 1):
            module = f"features.denseblock{group}.denselayer{i}."
            x = _dense_layer(net, x, growth, module, f"conv{group + 1}_block{i}_")
    x = _relu(net.norm(x, "features.norm5", "bn"), "relu")
    return net.top(x, "classifier")


def _dense_layer(net: Net, x: Any, growth: int, module: str, name: str) -> Any:
    new = _relu(net.norm(x, f"{module}norm1", f"{name}0_bn"), f"{name}0_relu")
    new = net.conv(new, f"{module}conv1", f"{name}1_conv", 4 * growth, 1)
    new = _relu(net.norm(new, f"{module}norm2", f"{name}1_bn"), f"{name}1_relu")
    new = net.conv(new, f"{module}conv2", f"{name}2_conv", growth, 3)
    return layers.Concatenate(name=f"{name}concat")([x, new])


def _transition(net: Net, x: Any, group: int) -> Any:
    module, name = f"features.transition{group}.", f"pool{group + 1}_"
    half = x.shape[-1] // 2
    x = _relu(net.norm(x, f"{module}norm", f"{name}bn"), f"{name}relu")
    x = net.conv(x, f"{module}conv", f"{name}conv", half, 1)
    return layers.AveragePooling2D(2, name=f"{name}pool")(x)


# ---- MobileNetV2 ---------------------------------------------------------------------------------

_GROUPS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
           (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip


def _mobilenet(net: Net, x: Any) -> Any:
    x = net.norm(net.conv(x, "features.0.0", "Conv1", 32, 3, 2), "features.0.1", "bn_Conv1")
    x = layers.ReLU(6.0, name="Conv1_relu")(x)
    number = 1
    for wider, filters, count, stride in _GROUPS:
        for i in range(count):
            x = _inverted(net, x, number, wider, filters, stride if i == 0 else 1)
            number += 1
    module = f"features.{number}."
    x = net.norm(net.conv(x, f"{module}0", "Conv_1", 1280, 1), f"{module}1", "Conv_1_bn")
    x = layers.ReLU(6.0, name="out_relu")(x)
    x = layers.Dropout(0.2, name="drop")(layers.GlobalAveragePooling2D(name="avg_pool")(x))
    return net.dense(x, "classifier.1", "predictions", net.classes, net.activation)


def _inverted(net: Net, x: Any, number: int, wider: int, filters: int, stride: int) -> Any:
    module, before = f"features.{number}.conv.", x
    name = f"block_{number - 1}_" if number > 1 else "expanded_conv_"
    part = 0
    if wider > 1:
        width = wider * x.shape[-1]
        x = net.conv(x, f"{module}0.0", f"{name}expand", width, 1)
        x = net.norm(x, f"{module}0.1", f"{name}expand_BN")
        x = layers.ReLU(6.0, name=f"{name}expand_relu")(x)
        part = 1
    x = net.depthwise(x, f"{module}{part}.0", f"{name}depthwise", stride)
    x = net.norm(x, f"{module}{part}.1", f"{name}depthwise_BN")
    x = layers.ReLU(6.0, name=f"{name}depthwise_relu")(x)
    x = net.conv(x, f"{module}{part + 1}", f"{name}project", filters, 1)
    x = net.norm(x, f"{module}{part + 2}", f"{name}project_BN")
    if stride == 1 and before.shape[-1] == filters:
        x = layers.Add(name=f"{name}add")([before, x])
    return x


ARCHITECTURES: dict[str, Callable[[Net, Any], Any]] = {
    "resnet18": partial(_resnet, (2, 2, 2, 2), (3, 3)),
    "resnet34": partial(_resnet, (3, 4, 6, 3), (3, 3)),
    "resnet50": partial(_resnet, (3, 4, 6, 3), (1, 3, 1)),
    "resnet101": partial(_resnet, (3, 4, 23, 3), (1, 3, 1)),
    "resnet152": partial(_resnet, (3, 8, 36, 3), (1, 3, 1)),
    "vgg11": partial(_vgg, (1, 1, 2, 2, 2)),
    "vgg13": partial(_vgg, (2, 2, 2, 2, 2)),
    "vgg16": partial(_vgg, (2, 2, 3, 3, 3)),
    "vgg19": partial(_vgg, (2, 2, 4, 4, 4)),
    "densenet121": partial(_densenet, (6, 12, 24, 16), 64, 32),
    "densenet161": partial(_densenet, (6, 12, 36, 24), 96, 48),
    "densenet169": partial(_densenet, (6, 12, 32, 32), 64, 32),
    "densenet201": partial(_densenet, (6, 12, 48, 32), 64, 32),
    "mobilenet_v2": _mobilenet,
}
