"""The names by which Keras files know ops: class, module, and which arguments belong to a call.

In: a public op function. Out: strings. `keras.src.ops.numpy.Mean(axis=1)` is `ops.mean(x, axis=1)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo_keras import ops
from zoo_keras.graph import operators
from zoo_keras.naming import to_snake_case

# Arguments of Keras' op classes at the call; all others are the op's configuration.
CALL_ARGUMENTS = frozenset(
    "a array atol b bias bins choicelist condition condlist constant_values data default "
    "depthwise_kernel fill_value images indices inputs kernel key mask operands output "
    "pointwise_kernel predictions q query rtol scale segment_ids start start_indices step stop "
    "target targets updates value values variable weights x x1 x2 xs y".split()
)
# Classes that are not simply CamelCase of the function.
_CLASSES = {
    "allclose": "AllClose",
    "batch_normalization": "BatchNorm",
    "cdist": "CDist",
    "fft": "FFT",
    "fft2": "FFT2",
    "ifft2": "IFFT2",
    "irfft": "IRFFT",
    "isin": "IsIn",
    "layer_normalization": "LayerNorm",
    "psnr": "PSNR",
    "rfft": "RFFT",
    "rgb_to_grayscale": "RGBToGrayscale",
    "rms_normalization": "RMSNorm",
    "searchsorted": "SearchSorted",
    "svd": "SVD",
}
_ALIASES = {"abs": "Absolute", "hard_swish": "HardSilu", "swish": "Silu"}
_FUNCTIONS = {name: function for function, name in _CLASSES.items()}
# The modules of Keras' op classes; all others are in `numpy`.
_MODULES = {
    name: module
    for module, names in {
        "core": "Array AssociativeScan Cast Cond ConvertToNumpy ConvertToTensor Dtype ForiLoop "
        "IsTensor Map Ndim SaturateCast Scan Scatter ScatterUpdate Shape Slice "
        "SliceUpdate StopGradient Switch Unstack VectorizedMap WhileLoop",
        "image": "CropImages PadImages RGBToGrayscale Resize",
        "linalg": "Cholesky CholeskyInverse Det Eigh Inv Lstsq MatrixRank Norm Pinv Qr SVD Solve "
        "SolveTriangular",
        "math": "CDist Erf Erfc Erfinv ExtractSequences FFT FFT2 IFFT2 IRFFT InTopK Logdet "
        "Logsumexp RFFT Rsqrt SegmentMax SegmentMin SegmentProd SegmentSum TopK",
        "nn": "AdaptiveAveragePool AdaptiveMaxPool AveragePool BatchNorm BinaryCrossentropy "
        "CategoricalCrossentropy Celu Conv ConvTranspose DepthToSpace DepthwiseConv "
        "DotProductAttention Elu Gelu Glu HardShrink HardSigmoid HardSilu HardTanh "
        "LayerNorm LeakyRelu LogSigmoid LogSoftmax MaxPool Moments MultiHot Normalize "
        "OneHot PSNR RMSNorm Relu Relu6 Selu SeparableConv Sigmoid Silu SoftShrink "
        "Softmax Softplus Softsign SpaceToDepth SparseCategoricalCrossentropy SparsePlus "
        "SparseSigmoid Sparsemax Squareplus TanhShrink Threshold",
    }.items()
    for name in names.split()
}


def class_name(function: Callable[..., Any]) -> str:
    """The class of an op in Keras files."""
    name = function.__name__.strip("_")
    known = _CLASSES.get(name) or _ALIASES.get(name)
    return known or "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def module_name(function: Callable[..., Any]) -> str:
    """The module of that class."""
    return f"keras.src.ops.{_MODULES.get(class_name(function), 'numpy')}"


def op_function(name: str) -> Callable[..., Any] | None:
    """The public op of a class name in a Keras file, or None."""
    if name == "GetItem":
        return operators["getitem"]
    function = _FUNCTIONS.get(name) or to_snake_case(name)
    found: Callable[..., Any] | None = getattr(ops, function, None)
    return found or getattr(ops.image, function, None)
