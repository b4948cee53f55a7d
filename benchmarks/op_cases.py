"""Rows of layers.py for ops that do more than one thing to each number, as tables.

A row: a name, a kind of input (`layer_cases.SHAPES`), the computation in Keras' words, `f(keras,
ops, x)`, the same in torch's, `f(t, x)` (None: torch has none), and whether there is a gradient.
torch gets pictures with channels first, as there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Row = tuple[str, str, Callable[[Any, Any, Any], Any], Callable[[Any, Any], Any] | None, bool]

ORDER = [3, 1, 5, 2] * 4
EDGES = np.linspace(-2, 2, 63).astype("float32")

PLACES = np.array([[3], [1], [5], [2]])
TURN = np.array([0.9, -0.2, 3, 0.2, 0.9, -2, 0, 0], "float32")
START = np.array([[0, 0], [0, 31], [31, 0], [31, 31]], "float32")
END = START * 0.9 + 1


def _ids(x: Any) -> np.ndarray:
    """A segment for each column of x."""
    return np.arange(x.shape[1]) * 7 % 16


def _definite(ops: Any, x: Any) -> Any:
    return ops.matmul(x, ops.transpose(x, (0, 2, 1))) + 10 * ops.eye(x.shape[-1])


def _torch_definite(t: Any, x: Any) -> Any:
    return x @ x.mT + 10 * t.eye(x.shape[-1])


# fmt: off
MOVING: list[Row] = [
    ("transpose", "sequence", lambda k, o, x: o.transpose(x, (0, 2, 1)),
     lambda t, x: x.transpose(1, 2).contiguous(), True),
    ("transpose rows", "sequence", lambda k, o, x: o.transpose(x, (1, 0, 2)),
     lambda t, x: x.transpose(0, 1).contiguous(), True),
    ("swapaxes", "sequence", lambda k, o, x: o.swapaxes(x, 1, 2),
     lambda t, x: x.transpose(1, 2).contiguous(), True),
    ("moveaxis", "image", lambda k, o, x: o.moveaxis(x, 1, 3),
     lambda t, x: x.movedim(1, 3).contiguous(), True),
    ("reshape", "sequence", lambda k, o, x: o.reshape(x, (-1, x.shape[1] * x.shape[2])),
     lambda t, x: x.reshape(len(x), -1) * 1, True),
    ("broadcast_to", "sequence", lambda k, o, x: o.broadcast_to(x[0], (8, *x.shape[1:])),
     lambda t, x: x[0].expand(8, -1, -1).contiguous(), True),
    ("flip", "sequence", lambda k, o, x: o.flip(x, axis=1), lambda t, x: x.flip(1), True),
    ("flip last", "sequence", lambda k, o, x: o.flip(x, axis=2), lambda t, x: x.flip(2), True),
    ("rot90", "image", lambda k, o, x: o.rot90(x, axes=(1, 2)),
     lambda t, x: x.rot90(1, (2, 3)), True),
    ("roll", "sequence", lambda k, o, x: o.roll(x, 3, axis=1), lambda t, x: x.roll(3, 1), True),
    ("roll last", "sequence", lambda k, o, x: o.roll(x, 3, axis=2),
     lambda t, x: x.roll(3, 2), True),
    ("repeat", "sequence", lambda k, o, x: o.repeat(x, 2, axis=1),
     lambda t, x: x.repeat_interleave(2, 1), True),
    ("repeat last", "sequence", lambda k, o, x: o.repeat(x, 2, axis=2),
     lambda t, x: x.repeat_interleave(2, 2), True),
    ("tile", "sequence", lambda k, o, x: o.tile(x, (1, 2, 1)), lambda t, x: x.tile(1, 2, 1), True),
    ("pad", "sequence", lambda k, o, x: o.pad(x, ((0, 0), (1, 1), (2, 2))),
     lambda t, x: t.nn.functional.pad(x, (2, 2, 1, 1)), True),
    ("pad reflect", "sequence", lambda k, o, x: o.pad(x, ((0, 0), (0, 0), (2, 2)), mode="reflect"),
     lambda t, x: t.nn.functional.pad(x, (2, 2), mode="reflect"), True),
    ("slice", "sequence", lambda k, o, x: x[:, 2:-2, ::2],
     lambda t, x: x[:, 2:-2, ::2].contiguous(), True),
    ("concatenate first", "sequence", lambda k, o, x: o.concatenate([x, x], 1),
     lambda t, x: t.cat([x, x], 1), True),
    ("concatenate last", "sequence", lambda k, o, x: o.concatenate([x, x], 2),
     lambda t, x: t.cat([x, x], 2), True),
    ("hstack", "sequence", lambda k, o, x: o.hstack([x, x]), lambda t, x: t.hstack([x, x]), True),
    ("stack", "sequence", lambda k, o, x: o.stack([x, x], 1),
     lambda t, x: t.stack([x, x], 1), True),
    ("stack last", "sequence", lambda k, o, x: o.stack([x, x], -1),
     lambda t, x: t.stack([x, x], -1), True),
    ("unstack", "sequence", lambda k, o, x: o.add(*o.unstack(x, axis=1)[:2]),
     lambda t, x: t.add(*x.unbind(1)[:2]), True),
    ("split", "sequence", lambda k, o, x: o.concatenate(o.split(x, 4, 2)[::-1], 2),
     lambda t, x: t.cat(t.chunk(x, 4, 2)[::-1], 2), True),
    ("clip", "sequence", lambda k, o, x: o.clip(x, -0.5, 0.5),
     lambda t, x: x.clip(-0.5, 0.5), True),
    ("where", "sequence", lambda k, o, x: o.where(x > 0, x, 0.5 * x),
     lambda t, x: t.where(x > 0, x, 0.5 * x), True),
    ("select", "sequence", lambda k, o, x: o.select([x > 1, x > 0], [x * 2, x], x * 0.5),
     lambda t, x: t.where(x > 1, x * 2, t.where(x > 0, x, x * 0.5)), True),
    ("triu", "matrix", lambda k, o, x: o.triu(x), lambda t, x: x.triu(), True),
    ("tril", "matrix", lambda k, o, x: o.tril(x), lambda t, x: x.tril(), True),
    ("diagonal", "matrix", lambda k, o, x: o.diagonal(x, axis1=1, axis2=2),
     lambda t, x: x.diagonal(dim1=1, dim2=2) * 1, True),
    ("trace", "matrix", lambda k, o, x: o.trace(x, axis1=1, axis2=2),
     lambda t, x: x.diagonal(dim1=1, dim2=2).sum(-1), True),
    ("diff", "sequence", lambda k, o, x: o.diff(x), lambda t, x: x.diff(), True),
    ("trapezoid", "sequence", lambda k, o, x: o.trapezoid(x), lambda t, x: t.trapezoid(x), True),
    ("depth_to_space", "image", lambda k, o, x: o.nn.depth_to_space(x, 2),
     lambda t, x: t.nn.functional.pixel_shuffle(x, 2), True),
    ("space_to_depth", "image", lambda k, o, x: o.nn.space_to_depth(x, 2),
     lambda t, x: t.nn.functional.pixel_unshuffle(x, 2), True),
    ("unfold", "image", lambda k, o, x: o.nn.unfold(o.transpose(x, (0, 3, 1, 2)), 3),
     lambda t, x: t.nn.functional.unfold(x, 3), True),
]

INDEXING: list[Row] = [
    ("take", "sequence", lambda k, o, x: o.take(x, ORDER, axis=1), lambda t, x: x[:, ORDER], True),
    ("take last", "sequence", lambda k, o, x: o.take(x, ORDER, axis=2),
     lambda t, x: x[:, :, ORDER], True),
    ("take_along_axis", "vector",
     lambda k, o, x: o.take_along_axis(x, o.argmax(x, -1, keepdims=True), axis=-1),
     lambda t, x: x.gather(-1, x.argmax(-1, keepdim=True)), True),
    ("take_along_axis all", "vector",
     lambda k, o, x: o.take_along_axis(x, o.argsort(x, -1), axis=-1),
     lambda t, x: x.gather(-1, x.argsort(-1)), True),
    ("scatter_update", "vector",
     lambda k, o, x: o.scatter_update(o.transpose(x), PLACES, o.transpose(x)[:4] * 2),
     lambda t, x: x.T.index_copy(0, t.tensor([3, 1, 5, 2]), x.T[:4] * 2), True),
    ("scatter", "vector", lambda k, o, x: o.scatter(PLACES, x[:4], (64, x.shape[1])),
     None, True),
    ("slice_update", "vector",
     lambda k, o, x: o.slice_update(o.transpose(x), (0, 0), o.transpose(x)[:4]), None, True),
    ("one_hot", "ids", lambda k, o, x: o.one_hot(x, 64, dtype="float32"),
     lambda t, x: t.nn.functional.one_hot(x, 64).float(), False),
    ("multi_hot", "ids", lambda k, o, x: o.multi_hot(x, num_classes=64), None, False),
    ("bincount", "ids", lambda k, o, x: o.bincount(x, minlength=64), None, False),
    ("segment_sum", "vector", lambda k, o, x: o.segment_sum(o.transpose(x), _ids(x), 16),
     lambda t, x: t.zeros(16, len(x)).index_add(0, t.from_numpy(_ids(x)), x.T), True),
    ("segment_max", "vector", lambda k, o, x: o.segment_max(o.transpose(x), _ids(x), 16),
     lambda t, x: t.zeros(16, len(x)).index_reduce(
         0, t.from_numpy(_ids(x)), x.T.contiguous(), "amax"), False),
    ("in_top_k", "vector", lambda k, o, x: o.in_top_k(o.argmax(x, -1), x, 5), None, False),
    ("isin", "ids", lambda k, o, x: o.isin(x, ORDER[:4]),
     lambda t, x: t.isin(x, t.tensor(ORDER[:4])), False),
    ("searchsorted", "vector", lambda k, o, x: o.searchsorted(EDGES, x),
     lambda t, x: t.searchsorted(t.from_numpy(EDGES), x), False),
    ("digitize", "vector", lambda k, o, x: o.digitize(x, EDGES),
     lambda t, x: t.bucketize(x, t.from_numpy(EDGES)), False),
]

SORTING: list[Row] = [
    ("sort", "vector", lambda k, o, x: o.sort(x), lambda t, x: x.sort().values, True),
    ("sort of axis 0", "vector", lambda k, o, x: o.sort(x, axis=0),
     lambda t, x: x.sort(0).values, True),
    ("argsort", "vector", lambda k, o, x: o.argsort(x), lambda t, x: x.argsort(), False),
    ("argpartition", "vector", lambda k, o, x: o.argpartition(x, 5), None, False),
    ("top_k", "vector", lambda k, o, x: o.top_k(x, 5)[0], lambda t, x: x.topk(5).values, True),
    ("top_k 200", "wide", lambda k, o, x: o.top_k(x, 200)[0],
     lambda t, x: x.topk(200).values, True),
    ("median", "vector", lambda k, o, x: o.median(x, axis=-1),
     lambda t, x: x.median(-1).values, False),
    ("quantile", "vector", lambda k, o, x: o.quantile(x, 0.3, axis=-1),
     lambda t, x: x.quantile(0.3, -1), False),
    ("nanmedian", "vector", lambda k, o, x: o.nanmedian(x, axis=-1),
     lambda t, x: x.nanmedian(-1).values, False),
    ("sparsemax", "vector", lambda k, o, x: o.nn.sparsemax(x), None, True),
]

REDUCING: list[Row] = [
    ("nansum", "vector", lambda k, o, x: o.nansum(x, -1), lambda t, x: x.nansum(-1), True),
    ("nanmean", "vector", lambda k, o, x: o.nanmean(x, -1), lambda t, x: x.nanmean(-1), True),
    ("nanmax", "vector", lambda k, o, x: o.nanmax(x, -1), None, True),
    ("nanvar", "vector", lambda k, o, x: o.nanvar(x, -1), None, True),
    ("ptp", "vector", lambda k, o, x: o.ptp(x, -1), lambda t, x: x.amax(-1) - x.amin(-1), True),
    ("average", "vector", lambda k, o, x: o.average(x, -1), lambda t, x: x.mean(-1), True),
    ("moments", "vector", lambda k, o, x: o.moments(x, -1)[1],
     lambda t, x: x.var(-1, correction=0), True),
    ("normalize", "vector", lambda k, o, x: o.nn.normalize(x),
     lambda t, x: t.nn.functional.normalize(x), True),
    ("corrcoef", "vector", lambda k, o, x: o.corrcoef(x), lambda t, x: t.corrcoef(x), False),
    ("softmax of the middle", "sequence", lambda k, o, x: o.softmax(x, axis=1),
     lambda t, x: x.softmax(1), True),
    ("softmax of two axes", "sequence", lambda k, o, x: o.softmax(x, axis=(1, 2)),
     lambda t, x: x.flatten(1).softmax(-1).reshape(x.shape), True),
    ("log_softmax of the middle", "sequence", lambda k, o, x: o.log_softmax(x, axis=1),
     lambda t, x: x.log_softmax(1), True),
    ("sum of the middle", "sequence", lambda k, o, x: o.sum(x, 1), lambda t, x: x.sum(1), True),
    ("max of the middle", "sequence", lambda k, o, x: o.max(x, 1), lambda t, x: x.amax(1), True),
    ("cumsum of the middle", "sequence", lambda k, o, x: o.cumsum(x, 1),
     lambda t, x: x.cumsum(1), True),
    ("binary_crossentropy", "vector",
     lambda k, o, x: o.binary_crossentropy(o.sigmoid(x * 0), x, from_logits=True),
     lambda t, x: t.nn.functional.binary_cross_entropy_with_logits(
         x, (x * 0).sigmoid(), reduction="none"), True),
    ("categorical_crossentropy", "vector",
     lambda k, o, x: o.categorical_crossentropy(o.softmax(x * 0), x, from_logits=True),
     lambda t, x: t.nn.functional.cross_entropy(x, (x * 0).softmax(-1), reduction="none"), True),
]

PRODUCTS: list[Row] = [
    ("matmul", "matrix", lambda k, o, x: o.matmul(x, x), lambda t, x: x @ x, True),
    ("einsum", "matrix", lambda k, o, x: o.einsum("bij,bkj->bik", x, x),
     lambda t, x: t.einsum("bij,bkj->bik", x, x), True),
    ("einsum of heads", "sequence", lambda k, o, x: o.einsum("abc,adc->abd", x, x),
     lambda t, x: t.einsum("abc,adc->abd", x, x), True),
    ("einsum of three", "matrix", lambda k, o, x: o.einsum("bij,bjk,bkl->bil", x, x, x),
     lambda t, x: t.einsum("bij,bjk,bkl->bil", x, x, x), True),
    ("einsum elementwise", "sequence", lambda k, o, x: o.einsum("abc,abc->ab", x, x),
     lambda t, x: t.einsum("abc,abc->ab", x, x), True),
    ("tensordot", "sequence", lambda k, o, x: o.tensordot(x, x, axes=((0, 1), (0, 1))),
     lambda t, x: t.tensordot(x, x, ((0, 1), (0, 1))), True),
    ("dot", "vector", lambda k, o, x: o.dot(x, o.transpose(x)), lambda t, x: x @ x.T, True),
    ("inner", "vector", lambda k, o, x: o.inner(x, x), lambda t, x: t.inner(x, x), True),
    ("outer", "vector", lambda k, o, x: o.outer(x[0], x[1]),
     lambda t, x: t.outer(x[0], x[1]), True),
    ("kron", "matrix", lambda k, o, x: o.kron(x[0], x[1][:4, :4]),
     lambda t, x: t.kron(x[0], x[1][:4, :4].contiguous()), True),
    ("cross", "photo", lambda k, o, x: o.cross(x, o.flip(x, 1)),
     lambda t, x: t.linalg.cross(x, x.flip(2), dim=1), True),
    ("cdist", "vector", lambda k, o, x: o.cdist(x, x), lambda t, x: t.cdist(x, x), False),
    ("dot_product_attention", "heads", lambda k, o, x: o.dot_product_attention(x, x, x),
     lambda t, x: t.nn.functional.scaled_dot_product_attention(*[x.transpose(1, 2)] * 3), True),
]

LINALG: list[Row] = [
    ("cholesky", "matrix", lambda k, o, x: o.cholesky(_definite(o, x)),
     lambda t, x: t.linalg.cholesky(_torch_definite(t, x)), True),
    ("inv", "matrix", lambda k, o, x: o.inv(_definite(o, x)),
     lambda t, x: t.linalg.inv(_torch_definite(t, x)), True),
    ("solve", "matrix", lambda k, o, x: o.solve(_definite(o, x), x),
     lambda t, x: t.linalg.solve(_torch_definite(t, x), x), True),
    ("solve_triangular", "matrix",
     lambda k, o, x: o.solve_triangular(_definite(o, x), x, lower=True),
     lambda t, x: t.linalg.solve_triangular(_torch_definite(t, x).tril(), x, upper=False), False),
    ("det", "matrix", lambda k, o, x: o.det(_definite(o, x * 0.1)),
     lambda t, x: t.linalg.det(_torch_definite(t, x * 0.1)), True),
    ("slogdet", "matrix", lambda k, o, x: o.slogdet(_definite(o, x))[1],
     lambda t, x: t.linalg.slogdet(_torch_definite(t, x))[1], True),
    ("qr", "matrix", lambda k, o, x: o.qr(x)[1], lambda t, x: t.linalg.qr(x)[1], False),
    ("svd", "matrix", lambda k, o, x: o.svd(x)[1], lambda t, x: t.linalg.svd(x)[1], False),
    ("eigh", "matrix", lambda k, o, x: o.eigh(_definite(o, x))[0],
     lambda t, x: t.linalg.eigh(_torch_definite(t, x))[0], False),
    ("pinv", "matrix", lambda k, o, x: o.linalg.pinv(x), lambda t, x: t.linalg.pinv(x), False),
    ("lu_factor", "matrix", lambda k, o, x: o.lu_factor(x)[0],
     lambda t, x: t.linalg.lu_factor(x)[0], False),
    ("norm of matrices", "matrix", lambda k, o, x: o.norm(x, axis=(1, 2)),
     lambda t, x: t.linalg.norm(x, dim=(1, 2)), True),
    ("rfft", "vector", lambda k, o, x: o.rfft(x)[0], lambda t, x: t.fft.rfft(x).real * 1, True),
    ("fft", "vector", lambda k, o, x: o.fft((x, x))[0],
     lambda t, x: t.fft.fft(t.complex(x, x)).real * 1, False),
    ("fft2", "matrix", lambda k, o, x: o.fft2((x, x))[0],
     lambda t, x: t.fft.fft2(t.complex(x, x)).real * 1, False),
    ("irfft", "vector", lambda k, o, x: o.irfft((x[:, : x.shape[1] // 2 + 1],) * 2),
     lambda t, x: t.fft.irfft(t.complex(*[x[:, : x.shape[1] // 2 + 1]] * 2)), False),
    ("stft", "wide", lambda k, o, x: o.stft(x, 256, 64, 256)[0],
     lambda t, x: t.stft(x, 256, 64, 256, t.hann_window(256), return_complex=True).real * 1, False),
]

PICTURES: list[Row] = [
    *[(f"image.resize {how}", "photo", lambda k, o, x, how=how: o.image.resize(x, (48, 40), how),
       lambda t, x, how=how: t.nn.functional.interpolate(x, (48, 40), mode=how), True)
      for how in ("bilinear", "nearest", "bicubic")],
    ("image.resize lanczos3", "photo",
     lambda k, o, x: o.image.resize(x, (48, 40), "lanczos3"), None, False),
    ("image.resize antialias", "photo", lambda k, o, x: o.image.resize(x, (24, 20), antialias=True),
     lambda t, x: t.nn.functional.interpolate(x, (24, 20), mode="bilinear", antialias=True), True),
    ("image.rgb_to_grayscale", "photo", lambda k, o, x: o.image.rgb_to_grayscale(x), None, True),
    ("image.rgb_to_hsv", "photo", lambda k, o, x: o.image.rgb_to_hsv(x), None, False),
    ("image.hsv_to_rgb", "photo", lambda k, o, x: o.image.hsv_to_rgb(o.sigmoid(x)), None, False),
    ("image.affine_transform", "photo",
     lambda k, o, x: o.image.affine_transform(x, TURN), None, False),
    ("image.perspective_transform", "photo",
     lambda k, o, x: o.image.perspective_transform(x, START, END), None, False),
    ("image.gaussian_blur", "photo", lambda k, o, x: o.image.gaussian_blur(x), None, True),
    ("image.elastic_transform", "photo",
     lambda k, o, x: o.image.elastic_transform(x, seed=1), None, False),
    ("image.extract_patches", "photo", lambda k, o, x: o.image.extract_patches(x, 8),
     lambda t, x: t.nn.functional.unfold(x, 8, stride=8), True),
    ("image.crop_images", "photo", lambda k, o, x: o.image.crop_images(x, 4, 4, None, None, 20, 20),
     lambda t, x: x[:, :, 4:24, 4:24].contiguous(), True),
    ("image.pad_images", "photo", lambda k, o, x: o.image.pad_images(x, 4, 4, 4, 4),
     lambda t, x: t.nn.functional.pad(x, (4, 4, 4, 4)), True),
    ("image.map_coordinates", "vector",
     lambda k, o, x: o.image.map_coordinates(x, o.stack([o.abs(x) * 8, o.abs(x) * 8]), 1),
     None, False),
    ("image.scale_and_translate", "photo", lambda k, o, x: o.image.scale_and_translate(
        x, (8, 40, 40, 3), np.full(2, 1.2, "f4"), np.full(2, 0.5, "f4"), (1, 2), "linear"),
     None, False),
    ("image.sobel_edges", "photo", lambda k, o, x: o.image.sobel_edges(x), None, True),
]

SMALL_FUNCTIONS: list[Row] = [
    *[(name, "vector", lambda k, o, x, name=name: getattr(o, name)(x), torch, True)
      for name, torch in [
        ("celu", lambda t, x: t.celu(x)), ("squareplus", None), ("sparse_plus", None),
        ("glu",
     lambda t, x: t.nn.functional.glu(x)), ("cbrt", None), ("erfc", lambda t, x: t.erfc(x)),
        ("deg2rad", lambda t, x: t.deg2rad(x)), ("nan_to_num", lambda t, x: t.nan_to_num(x)),
    ]],
    ("mish", "vector", lambda k, o, x: k.activations.mish(x),
     lambda t, x: t.nn.functional.mish(x), True),
    ("i0", "vector", lambda k, o, x: o.i0(x), lambda t, x: t.i0(x), False),
    ("arccosh", "vector", lambda k, o, x: o.arccosh(x * x + 1.5),
     lambda t, x: t.acosh(x * x + 1.5), True),
    ("arctanh", "vector", lambda k, o, x: o.arctanh(x * 0.1), lambda t, x: t.atanh(x * 0.1), True),
    *[(name, "vector", lambda k, o, x, name=name: getattr(o, name)(x, x * x + 0.5), torch, True)
      for name, torch in [
        ("fmod",
     lambda t, x: t.fmod(x, x * x + 0.5)), ("fmax", lambda t, x: t.fmax(x, x * x + 0.5)),
        ("divide_no_nan", None), ("logaddexp2", lambda t, x: t.logaddexp2(x, x * x + 0.5)),
    ]],
    ("heaviside", "vector", lambda k, o, x: o.heaviside(x, x * 0.5),
     lambda t, x: t.heaviside(x, x * 0.5), False),
    ("isclose", "vector", lambda k, o, x: o.isclose(x, x * 1.1),
     lambda t, x: t.isclose(x, x * 1.1), False),
    ("nextafter", "vector", lambda k, o, x: o.nextafter(x, x * 2),
     lambda t, x: t.nextafter(x, x * 2), False),
    *[(name, "ids", lambda k, o, x, name=name: getattr(o, name)(x, x + 3), torch, False)
      for name, torch in [
        ("bitwise_and", lambda t, x: x & (x + 3)), ("bitwise_xor", lambda t, x: x ^ (x + 3)),
        ("gcd", lambda t, x: t.gcd(x, x + 3)), ("lcm", lambda t, x: t.lcm(x, x + 3)),
    ]],
    ("left_shift", "ids", lambda k, o, x: o.left_shift(x, 2), lambda t, x: x << 2, False),
    ("bitwise_not", "ids", lambda k, o, x: o.bitwise_not(x), lambda t, x: ~x, False),
    ("cast to float", "ids", lambda k, o, x: o.cast(x, "float32"), lambda t, x: x.float(), False),
]

# What is drawn for each row of the input, in a layer of its own: seeds have a state.
RANDOM: list[Row] = [
    ("random.normal", "vector", lambda k, s, x: x + k.random.normal(k.ops.shape(x), seed=s),
     lambda t, x: x + t.randn_like(x), True),
    ("random.uniform", "vector", lambda k, s, x: x + k.random.uniform(k.ops.shape(x), seed=s),
     lambda t, x: x + t.rand_like(x), True),
    ("random.truncated_normal", "vector",
     lambda k, s, x: x + k.random.truncated_normal(k.ops.shape(x), seed=s),
     None, True),
    ("random.randint", "vector", lambda k, s, x: k.random.randint(k.ops.shape(x), 0, 100, seed=s),
     lambda t, x: t.randint_like(x, 100), False),
    ("random.categorical", "vector", lambda k, s, x: k.random.categorical(x, 4, seed=s),
     lambda t, x: t.multinomial(x.softmax(-1), 4, replacement=True), False),
    ("random.shuffle", "vector", lambda k, s, x: k.random.shuffle(x, axis=1, seed=s), None, False),
    ("random.gamma", "vector", lambda k, s, x: x + k.random.gamma(k.ops.shape(x), 2.0, seed=s),
     None, False),
]

ROWS = [*MOVING, *INDEXING, *SORTING, *REDUCING, *PRODUCTS, *LINALG, *PICTURES, *SMALL_FUNCTIONS]
# fmt: on
