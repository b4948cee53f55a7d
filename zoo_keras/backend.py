"""`zoo_keras.backend`: the functions that older code calls as K.mean, K.dot and the like.

In and out: what zoo_keras.ops takes and gives; most are those ops under their older names and
arguments. New code uses zoo_keras.ops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from zoo_keras import backend_defaults, backend_graphs, config, naming, ops, random
from zoo_keras.config import (
    epsilon,
    floatx,
    image_data_format,
)
from zoo_keras.dtypes import FLOATS, INTEGERS, promote
from zoo_keras.dtypes import standardize as standardize_dtype
from zoo_keras.errors import ConfigError
from zoo_keras.graph import scope
from zoo_keras.layers.merging import Dot
from zoo_keras.ops.convert import dtype_of
from zoo_keras.ops.symbolic import KerasTensor
from zoo_keras.paths import alias
from zoo_keras.variables import Variable

_SAME = (
    "abs cast categorical_crossentropy cos elu equal exp "
    "greater greater_equal less less_equal log maximum minimum not_equal ones_like "
    "reshape round shape sigmoid sign sin softmax softplus softsign "
    "sparse_categorical_crossentropy sqrt square squeeze stack stop_gradient tanh tile transpose "
    "zeros_like"
)
_DEFAULTS = "arange argmax argmin cumprod cumsum dropout expand_dims relu"
_SETTINGS = "backend set_epsilon set_floatx set_image_data_format"
globals().update({name: getattr(ops, name) for name in _SAME.split()})
globals().update({name: getattr(backend_defaults, name) for name in _DEFAULTS.split()})
globals().update({name: getattr(config, name) for name in _SETTINGS.split()})
clear_session = reset_uids = naming.clear_session
logsumexp, size = ops.logsumexp, ops.size


def is_float_dtype(dtype: Any) -> bool:
    """Whether a dtype is a floating one. Source: keras.backend.is_float_dtype."""
    return standardize_dtype(dtype) in FLOATS


def is_int_dtype(dtype: Any) -> bool:
    """Whether a dtype is an integer one. Source: keras.backend.is_int_dtype."""
    return standardize_dtype(dtype) in INTEGERS


def is_keras_tensor(x: Any) -> bool:
    """Whether x is a KerasTensor. Source: keras.backend.is_keras_tensor."""
    return isinstance(x, KerasTensor)


def result_type(*dtypes: Any) -> str:
    """The dtype that several promote to. Source: keras.backend.result_type."""
    return promote(*map(standardize_dtype, dtypes))


def is_tensor(x: Any) -> bool:
    """Whether x is a tensor, Variable or array."""
    return bool(ops.is_tensor(x))


def image_dim_ordering() -> str:
    """Keras 1's words for image_data_format: "tf" or "th"."""
    return "tf" if image_data_format() == "channels_last" else "th"


def set_image_dim_ordering(dim_ordering: str) -> None:
    """set_image_data_format in Keras 1's words: "tf" is channels_last, "th" channels_first."""
    known = {"tf": "channels_last", "th": "channels_first"}
    if dim_ordering not in known:
        raise ConfigError(
            f"set_image_dim_ordering: expected 'tf' or 'th'. Received: {dim_ordering!r}. Pass one."
        )
    config.set_image_data_format(known[dim_ordering])


def get_uid(prefix: str = "") -> int:
    """How often a name with this prefix was asked for."""
    number = naming.auto_name(prefix or "uid").rpartition("_")[2]
    return int(number) + 1 if number.isdigit() else 1


@contextmanager
def name_scope(name: str, *args: Any, **kwargs: Any) -> Iterator[None]:
    """Weights and operations made inside carry this name, too."""
    with scope(name):
        yield


# ---- values --------------------------------------------------------------------------------------


def variable(value: Any, dtype: Any = None, name: str | None = None, constraint: Any = None) -> Any:
    """A Variable with this value."""
    return Variable(np.asarray(value), dtype=dtype or floatx(), name=name, constraint=constraint)


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str | None = None) -> Any:
    """A tensor of this value, filled up to a shape."""
    made = np.asarray(value, standardize_dtype(dtype or floatx()))
    if shape is None:
        return made
    return np.broadcast_to(made, shape).copy() if made.size == 1 else made.reshape(shape)


def eval(x: Any) -> np.ndarray:
    """The value of a tensor or Variable as an array."""
    return np.asarray(ops.convert_to_numpy(x))


get_value = eval


def set_value(x: Any, value: Any) -> None:
    """Give a Variable a value."""
    x.assign(np.asarray(value))


def batch_get_value(tensors: Sequence[Any]) -> list[np.ndarray]:
    """The values of several."""
    return [eval(x) for x in tensors]


def batch_set_value(tuples: Sequence[tuple[Any, Any]]) -> None:
    """Give several Variables values: (Variable, value) pairs."""
    for x, value in tuples:
        set_value(x, value)


def update(x: Any, new_x: Any) -> Any:
    """Assign, also while a layer is traced."""
    x.assign(new_x)
    return x


def update_add(x: Any, increment: Any) -> Any:
    """Add to a Variable."""
    x.assign(ops.add(x, increment))
    return x


def update_sub(x: Any, decrement: Any) -> Any:
    """Subtract from a Variable."""
    x.assign(ops.subtract(x, decrement))
    return x


def moving_average_update(x: Any, value: Any, momentum: float) -> Any:
    """Move a Variable towards a value: x * momentum + value * (1 - momentum)."""
    x.assign(ops.add(ops.multiply(x, momentum), ops.multiply(value, 1 - momentum)))
    return x


def int_shape(x: Any) -> tuple[int | None, ...]:
    """The shape, None where it is not known."""
    return tuple(x.shape)


def ndim(x: Any) -> int:
    """The number of axes."""
    return len(x.shape)


def dtype(x: Any) -> str:
    """The dtype's name."""
    return str(dtype_of(x))


def count_params(x: Any) -> int:
    """The number of elements."""
    return int(np.prod(x.shape))


def cast_to_floatx(x: Any) -> np.ndarray:
    """An array in config.floatx()."""
    return np.asarray(x, standardize_dtype(floatx()))


def is_sparse(tensor: Any) -> bool:
    """False: all tensors are dense."""
    return False


def to_dense(tensor: Any) -> Any:
    """The tensor, which is dense."""
    return tensor


def zeros(shape: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Zeros as a Variable."""
    return variable(np.zeros(shape), dtype, name)


def ones(shape: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Ones as a Variable."""
    return variable(np.ones(shape), dtype, name)


def eye(size: int, dtype: Any = None, name: str | None = None) -> Any:
    """The unit matrix as a Variable."""
    return variable(np.eye(size), dtype, name)


# ---- reductions ----------------------------------------------------------------------------------


def _reduction(name: str, doc: str, floats: bool = False) -> Callable[..., Any]:
    op = getattr(ops, name)

    def function(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        kind = dtype_of(x)
        if floats and kind == "bool":
            x = ops.cast(x, floatx())
        found = op(x, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)
        return ops.cast(found, kind) if floats and kind in INTEGERS else found

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


all = _reduction("all", "Whether all are true.")
any = _reduction("any", "Whether any is true.")
max = _reduction("max", "The largest.")
mean = _reduction("mean", "The mean.", floats=True)
min = _reduction("min", "The smallest.")
prod = _reduction("prod", "The product.")
std = _reduction("std", "The standard deviation.", floats=True)
sum = _reduction("sum", "The sum.")
var = _reduction("var", "The variance.", floats=True)


# ---- arithmetic ----------------------------------------------------------------------------------


def hard_sigmoid(x: Any) -> Any:
    """0.2 x + 0.5 within 0 and 1, the slope of Keras 2."""
    return ops.clip(ops.add(ops.multiply(x, 0.2), 0.5), 0, 1)


def pow(x: Any, a: Any) -> Any:
    """x to the power of a."""
    return ops.power(x, a)


def clip(x: Any, min_value: Any, max_value: Any) -> Any:
    """x between two bounds; None is no bound."""
    low = -np.inf if min_value is None else min_value
    high = np.inf if max_value is None else max_value
    return ops.clip(x, low, high if high >= low else low)


def dot(x: Any, y: Any) -> Any:
    """The last axis of x with the last but one of y."""
    return ops.dot(x, y)


def batch_dot(x: Any, y: Any, axes: Any = None) -> Any:
    """For each row of the batch, the products summed along an axis of each."""
    if axes is None:
        axes = (len(x.shape) - 1, len(y.shape) - (1 if len(y.shape) == 2 else 2))
    return Dot(axes)([x, y])


def l2_normalize(x: Any, axis: Any = None) -> Any:
    """x divided by its Euclidean norm."""
    total = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(total, 1e-12)))


def bias_add(x: Any, bias: Any, data_format: Any = None) -> Any:
    """x plus a bias of one number for each channel, or of the shape of a row."""
    if len(bias.shape) == 1 and (data_format or image_data_format()) == "channels_first":
        bias = ops.reshape(bias, (-1, *[1] * (len(x.shape) - 2)))
    return ops.add(x, bias)


def batch_normalization(
    x: Any, mean: Any, var: Any, beta: Any, gamma: Any, axis: int = -1, epsilon: float = 1e-3
) -> Any:
    """x normalised by given statistics."""
    flat = [None if v is None else ops.reshape(v, (-1,)) for v in (mean, var, beta, gamma)]
    return ops.batch_normalization(x, flat[0], flat[1], axis, flat[2], flat[3], epsilon)


def in_top_k(predictions: Any, targets: Any, k: int) -> Any:
    """Whether each target is among the k likeliest classes."""
    return ops.in_top_k(targets, predictions, k)


def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """One of two values, or what one of two functions gives; a condition for each row works."""
    then, other = (f() if callable(f) else f for f in (then_expression, else_expression))
    condition = ops.cast(condition, "bool")
    missing_axes = len(ops.shape(then)) - len(condition.shape)
    for _ in range(missing_axes if condition.shape else 0):
        condition = ops.expand_dims(condition, -1)
    return ops.where(condition, then, other)


# ---- losses --------------------------------------------------------------------------------------


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """Of each element."""
    return ops.binary_crossentropy(target, output, from_logits)


def binary_focal_crossentropy(
    target: Any,
    output: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
) -> Any:
    """Of each element, weighted by how wrong it is. Lin et al. 2018."""
    p = ops.sigmoid(output) if from_logits else output
    right = target * p + (1 - target) * (1 - p)
    made = ops.power(1 - right, gamma) * ops.binary_crossentropy(target, output, from_logits)
    return made * (target * alpha + (1 - target) * (1 - alpha)) if apply_class_balancing else made


def categorical_focal_crossentropy(
    target: Any,
    output: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    axis: int = -1,
) -> Any:
    """Of each row, weighted by how wrong it is. Lin et al. 2018."""
    p = ops.softmax(output, axis=axis) if from_logits else output
    p = ops.clip(p / ops.sum(p, axis=axis, keepdims=True), epsilon(), 1 - epsilon())
    made = ops.power(1 - p, gamma) * alpha * ops.negative(target * ops.log(p))
    return ops.sum(made, axis=axis)


def ctc_batch_cost(y_true: Any, y_pred: Any, input_length: Any, label_length: Any) -> Any:
    """(batch, 1) of probabilities (batch, steps, classes); the last class stands between labels."""
    logs = ops.log(ops.add(y_pred, epsilon()))
    lengths = [ops.reshape(n, (-1,)) for n in (label_length, input_length)]
    made = ops.ctc_loss(y_true, logs, *lengths, mask_index=y_pred.shape[-1] - 1)
    return ops.expand_dims(made, 1)


def ctc_decode(
    y_pred: Any, input_length: Any, greedy: bool = True, beam_width: int = 100, top_paths: int = 1
) -> tuple[list[Any], Any]:
    """([labels (batch, steps), filled up with -1, of each path], scores) of probabilities."""
    logs = ops.log(ops.add(y_pred, epsilon()))
    strategy = "greedy" if greedy else "beam_search"
    found, scores = ops.ctc_decode(
        logs, input_length, strategy, beam_width, top_paths, mask_index=y_pred.shape[-1] - 1
    )
    return [found[i] for i in range(1 if greedy else top_paths)], scores


# ---- shapes --------------------------------------------------------------------------------------


def concatenate(tensors: Sequence[Any], axis: int = -1) -> Any:
    """Tensors side by side."""
    return ops.concatenate(tensors, axis)


def flatten(x: Any) -> Any:
    """One axis."""
    return ops.reshape(x, (-1,))


def batch_flatten(x: Any) -> Any:
    """(batch, all the rest)."""
    return ops.reshape(x, (-1, int(np.prod(x.shape[1:]))))


def permute_dimensions(x: Any, pattern: Sequence[int]) -> Any:
    """Axes in another order."""
    return ops.transpose(x, pattern)


def repeat(x: Any, n: int) -> Any:
    """(batch, features) -> (batch, n, features)."""
    return ops.repeat(ops.expand_dims(x, 1), n, axis=1)


def repeat_elements(x: Any, rep: int, axis: int) -> Any:
    """Every element along an axis `rep` times."""
    return ops.repeat(x, rep, axis=axis)


def reverse(x: Any, axes: Any) -> Any:
    """Axes backwards."""
    return ops.flip(x, axis=axes)


def gather(reference: Any, indices: Any) -> Any:
    """Rows by number."""
    return ops.take(reference, indices, axis=0)


def one_hot(indices: Any, num_classes: int) -> Any:
    """(...) -> (..., num_classes)."""
    return ops.one_hot(indices, num_classes)


def temporal_padding(x: Any, padding: Sequence[int] = (1, 1)) -> Any:
    """Zeros before and after the steps of (batch, steps, features)."""
    return ops.pad(x, ((0, 0), tuple(padding), (0, 0)))


def _spatial_padding(x: Any, padding: Any, data_format: Any) -> Any:
    sides = [tuple(p) for p in padding]
    first = (data_format or image_data_format()) == "channels_first"
    rest = [(0, 0), (0, 0), *sides] if first else [(0, 0), *sides, (0, 0)]
    return ops.pad(x, rest)


def spatial_2d_padding(x: Any, padding: Any = ((1, 1),) * 2, data_format: Any = None) -> Any:
    """Zeros around images."""
    return _spatial_padding(x, padding, data_format)


def spatial_3d_padding(x: Any, padding: Any = ((1, 1),) * 3, data_format: Any = None) -> Any:
    """Zeros around volumes."""
    return _spatial_padding(x, padding, data_format)


def resize_images(
    x: Any, height_factor: int, width_factor: int, data_format: str, interpolation: str = "nearest"
) -> Any:
    """Images larger by whole factors."""
    height, width = x.shape[2:] if data_format == "channels_first" else x.shape[1:3]
    size = (height * height_factor, width * width_factor)
    return ops.image.resize(x, size, interpolation, data_format=data_format)


def resize_volumes(
    x: Any, depth_factor: int, height_factor: int, width_factor: int, data_format: str
) -> Any:
    """Volumes larger by whole factors, every cell repeated."""
    start = 2 if data_format == "channels_first" else 1
    for axis, factor in enumerate((depth_factor, height_factor, width_factor), start):
        x = ops.repeat(x, factor, axis=axis)
    return x


# ---- convolutions --------------------------------------------------------------------------------


def _conv(name: str, rank: int) -> Callable[..., Any]:
    def function(
        x: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None,
        dilation_rate: Any = 1,
    ) -> Any:  # fmt: skip
        if padding == "causal":
            apart = dilation_rate if isinstance(dilation_rate, int) else dilation_rate[0]
            x, padding = temporal_padding(x, (apart * (kernel.shape[0] - 1), 0)), "valid"
        return ops.conv(x, kernel, strides, padding, data_format, dilation_rate)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"A convolution along {rank} axes."
    return function


conv1d, conv2d, conv3d = _conv("conv1d", 1), _conv("conv2d", 2), _conv("conv3d", 3)


def conv2d_transpose(
    x: Any, kernel: Any, output_shape: Any, strides: Any = (1, 1), padding: str = "valid",
    data_format: Any = None, dilation_rate: Any = (1, 1),
) -> Any:  # fmt: skip
    """The transpose of conv2d, of the size in output_shape (with the batch)."""
    made = ops.conv_transpose(
        x, kernel, strides, padding, data_format=data_format, dilation_rate=dilation_rate
    )
    if int_shape(made)[1:] != tuple(output_shape)[1:]:
        raise ConfigError(
            f"K.conv2d_transpose: the result has the shape {int_shape(made)}. Received: "
            f"output_shape={tuple(output_shape)}. Pass that shape, or other strides."
        )
    return made


def depthwise_conv2d(
    x: Any, depthwise_kernel: Any, strides: Any = (1, 1), padding: str = "valid",
    data_format: Any = None, dilation_rate: Any = (1, 1),
) -> Any:  # fmt: skip
    """Each channel with kernels of its own."""
    return ops.depthwise_conv(x, depthwise_kernel, strides, padding, data_format, dilation_rate)


def separable_conv2d(
    x: Any, depthwise_kernel: Any, pointwise_kernel: Any, strides: Any = (1, 1),
    padding: str = "valid", data_format: Any = None, dilation_rate: Any = (1, 1),
) -> Any:  # fmt: skip
    """depthwise_conv2d, then a mixture of channels."""
    return ops.separable_conv(
        x, depthwise_kernel, pointwise_kernel, strides, padding, data_format, dilation_rate
    )


def pool2d(
    x: Any, pool_size: Any, strides: Any = (1, 1), padding: str = "valid",
    data_format: Any = None, pool_mode: str = "max",
) -> Any:  # fmt: skip
    """The largest or the mean ("max", "avg") of windows."""
    if pool_mode not in ("max", "avg"):
        raise ConfigError(
            f"K.pool2d: unknown pool_mode. Received: {pool_mode!r}. Use 'max' or 'avg'."
        )
    op = ops.max_pool if pool_mode == "max" else ops.average_pool
    return op(x, pool_size, strides, padding, data_format)


def pool3d(
    x: Any, pool_size: Any, strides: Any = (1, 1, 1), padding: str = "valid",
    data_format: Any = None, pool_mode: str = "max",
) -> Any:  # fmt: skip
    """The same in volumes."""
    return pool2d(x, pool_size, strides, padding, data_format, pool_mode)


# ---- random numbers and loops --------------------------------------------------------------------


truncated_normal = random.truncated_normal
random_normal, random_uniform = random.normal, random.uniform


def random_bernoulli(shape: Any, p: float = 0.0, dtype: Any = None, seed: Any = None) -> Any:
    """Ones with the probability p, else zeros."""
    return ops.cast(random.uniform(shape, seed=seed) < p, dtype or floatx())


random_binomial = random_bernoulli


def random_normal_variable(
    shape: Any, mean: float, scale: float, dtype: Any = None, name: Any = None, seed: Any = None
) -> Any:
    """Normal numbers as a Variable."""
    return variable(random.normal(shape, mean, scale, seed=seed), dtype, name)


def random_uniform_variable(
    shape: Any, low: float, high: float, dtype: Any = None, name: Any = None, seed: Any = None
) -> Any:
    """Evenly distributed numbers as a Variable."""
    return variable(random.uniform(shape, low, high, seed=seed), dtype, name)


def map_fn(fn: Callable[[Any], Any], elems: Any, name: Any = None, dtype: Any = None) -> Any:
    """fn of every row."""
    return ops.map(fn, elems)


def foldl(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, name: Any = None
) -> Any:
    """fn(so far, row) over all rows, from the first on."""
    first, rest = (elems[0], elems[1:]) if initializer is None else (initializer, elems)
    return ops.scan(lambda carry, row: (fn(carry, row), row), first, rest)[0]


def foldr(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, name: Any = None
) -> Any:
    """fn(so far, row) over all rows, from the last on."""
    return foldl(fn, ops.flip(elems, axis=0), initializer)


in_test_phase, in_train_phase = backend_graphs.in_test_phase, backend_graphs.in_train_phase
learning_phase = backend_graphs.learning_phase
set_learning_phase = backend_graphs.set_learning_phase
function, gradients = backend_graphs.function, backend_graphs.gradients
placeholder, rnn = backend_graphs.placeholder, backend_graphs.rnn

_HIDDEN = ("Any", "Callable", "Iterator", "Sequence", "ConfigError", "Dot", "KerasTensor",
           "Variable", "alias", "contextmanager", "dtype_of", "promote", "scope")  # fmt: skip
__all__ = sorted(
    name
    for name, value in globals().items()
    if callable(value) and name[0] != "_" and name not in _HIDDEN
)


def __getattr__(name: str) -> Any:
    return alias("zoo_keras.backend", name)
