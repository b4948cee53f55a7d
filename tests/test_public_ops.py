"""zoo_keras.ops on arrays and in programs, against numpy: values, dtypes, shapes, errors."""

from __future__ import annotations

import numpy as np
import pytest
from traced import in_program, value_and_grad

from zoo_keras import ops, random
from zoo_keras.errors import ConfigError, DataError, ShapeError, UnsupportedError
from zoo_keras.graph import input_tensor, topological, tracing
from zoo_keras.variables import Variable

RNG = np.random.default_rng(7)


def real(*shape):
    return RNG.normal(size=shape).astype("float32")


A, B, S = real(3, 4), real(3, 4), real(2, 3, 4)
P = np.abs(A) + np.float32(0.1)
W, J = RNG.integers(-5, 9, (3, 4)).astype("int32"), RNG.integers(1, 6, (3, 4)).astype("int32")
M, Q = real(4, 4), real(4, 4)
N = np.where(RNG.random((3, 4)) < 0.3, np.nan, A).astype("float32")
IDS = np.array([2, 0, 1], "int32")


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


# (name of the case, function of ops and tensors, arrays, what numpy makes of them)
VALUES = [
    ("fmod", lambda a, b: ops.fmod(a, b), (W, J), np.fmod(W, J)),
    ("divide_no_nan", lambda a, b: ops.divide_no_nan(a, b), (A, B * 0), A * 0),
    ("clip_by_tensors", lambda a, b: ops.clip(a, b, 1.0), (A, -P), np.clip(A, -P, 1.0)),
    ("logaddexp", lambda a, b: ops.logaddexp(a, b), (A, B), np.logaddexp(A, B)),
    ("log2", lambda a: ops.log2(a), (P,), np.log2(P)),
    ("cbrt", lambda a: ops.cbrt(a), (A,), np.cbrt(A)),
    ("heaviside", lambda a: ops.heaviside(a, 0.5), (np.sign(A) * (P > 0.5),),
     np.heaviside(np.sign(A) * (P > 0.5), 0.5)),
    ("round_decimals", lambda a: ops.round(a, 2), (A,), np.round(A, 2)),
    ("trunc", lambda a: ops.trunc(a), (A * 5,), np.trunc(A * 5)),
    ("sinc", lambda a: ops.sinc(a), (A * 2,), np.sinc(A * 2)),
    ("signbit", lambda a: ops.signbit(a), (np.float32([-1, -0.0, 0.0, 2]),),
     np.array([True, True, False, False])),
    ("nan_to_num", lambda a: ops.nan_to_num(a, nan=2.0), (N,), np.nan_to_num(N, nan=2.0)),
    ("var", lambda a: ops.var(a, axis=(0, 2)), (S,), S.var((0, 2))),
    ("std_keepdims", lambda a: ops.std(a, axis=1, keepdims=True), (S,), S.std(1, keepdims=True)),
    ("logsumexp", lambda a: ops.logsumexp(a, axis=1), (A * 90,),
     np.log(np.exp(A.astype("f8") * 90).sum(1))),
    ("median", lambda a: ops.median(a, axis=1), (A,), np.median(A, 1)),
    ("quantiles", lambda a: ops.quantile(a, [0.2, 0.7], axis=0), (A,),
     np.quantile(A, [0.2, 0.7], axis=0)),
    ("average", lambda a, w: ops.average(a, axis=1, weights=w), (A, P[0]),
     np.average(A, 1, P[0])),
    ("nanmean", lambda a: ops.nanmean(a, axis=0), (N,), np.nanmean(N, 0)),
    ("nanmax", lambda a: ops.nanmax(a, axis=1), (N,), np.nanmax(N, 1)),
    ("norm_3", lambda a: ops.norm(a, ord=3, axis=1), (A,), np.linalg.norm(A, 3, 1)),
    ("norm_nuclear", lambda a: ops.norm(a, ord="nuc", axis=(0, 1)), (A,),
     np.linalg.norm(A, "nuc")),
    ("normalize", lambda a: ops.normalize(a), (A,), A / np.linalg.norm(A, axis=1)[:, None]),
    ("argmax_flat", lambda a: ops.argmax(a), (A,), np.argmax(A)),
    ("argmin_keepdims", lambda a: ops.argmin(a, axis=1, keepdims=True), (A,),
     np.argmin(A, 1, keepdims=True)),
    ("cumsum_flat", lambda a: ops.cumsum(a), (A,), np.cumsum(A)),
    ("sort", lambda a: ops.sort(a, axis=0), (A,), np.sort(A, 0)),
    ("top_k", lambda a: ops.top_k(a, 2)[0], (A,), -np.sort(-A, 1)[:, :2]),
    ("in_top_k", lambda t, a: ops.in_top_k(t, a, 1), (np.argmax(A, 1).astype("i4"), A),
     np.ones(3, bool)),
    ("searchsorted", lambda a, b: ops.searchsorted(a, b), (np.sort(A[0]), B),
     np.searchsorted(np.sort(A[0]), B)),
    ("bincount", lambda a: ops.bincount(a, minlength=9), (J[0],), np.bincount(J[0], minlength=9)),
    ("diff", lambda a: ops.diff(a, n=2, axis=1), (A,), np.diff(A, 2, 1)),
    ("trapezoid", lambda a, b: ops.trapezoid(a, b), (A, B[0]), np.trapezoid(A, B[0])),
    ("corrcoef", lambda a: ops.corrcoef(a), (A,), np.corrcoef(A)),
    ("segment_sum", lambda a, i: ops.segment_sum(a, i, 4), (A, IDS),
     np.concatenate([A[[1, 2, 0]], A[:1] * 0])),
    ("isin", lambda a, b: ops.isin(a, b), (W, J), np.isin(W, J)),
    ("squeeze", lambda a: ops.squeeze(a), (A[None, :, None],), A),
    ("expand_dims", lambda a: ops.expand_dims(a, (0, -1)), (A,), A[None, ..., None]),
    ("moveaxis", lambda a: ops.moveaxis(a, (0, 1), (1, 2)), (S,),
     np.moveaxis(S, (0, 1), (1, 2))),
    ("rot90_minus", lambda a: ops.rot90(a, -1), (A,), np.rot90(A, -1)),
    ("rot90_twice", lambda a: ops.rot90(a, 2), (A,), np.rot90(A, 2)),
    ("roll_two", lambda a: ops.roll(a, (1, -2), (0, 1)), (A,), np.roll(A, (1, -2), (0, 1))),
    ("roll_flat", lambda a: ops.roll(a, 3), (A,), np.roll(A, 3)),
    ("stack", lambda a, b: ops.stack([a, b], axis=1), (A, B), np.stack([A, B], 1)),
    ("array_split", lambda a: ops.array_split(a, 3, axis=1)[0], (A,), A[:, :2]),
    ("dstack", lambda a, b: ops.dstack([a, b]), (A, B), np.dstack([A, B])),
    ("tile_more_axes", lambda a: ops.tile(a, (2, 1, 2)), (A,), np.tile(A, (2, 1, 2))),
    ("repeat_each", lambda a: ops.repeat(a, [2, 0, 1], axis=0), (A,),
     np.repeat(A, [2, 0, 1], 0)),
    ("pad_reflect", lambda a: ops.pad(a, ((1, 2), (0, 3)), "reflect"), (A,),
     np.pad(A, ((1, 2), (0, 3)), "reflect")),
    ("pad_value", lambda a: ops.pad(a, 1, constant_values=3.0), (A,),
     np.pad(A, 1, constant_values=3.0)),
    ("triu", lambda a: ops.triu(a, 1), (S,), np.triu(S, 1)),
    ("diagonal", lambda a: ops.diagonal(a, 1, 0, 2), (S,), np.diagonal(S, 1, 0, 2)),
    ("diag_of_vector", lambda a: ops.diag(a, -1), (A[0],), np.diag(A[0], -1)),
    ("trace", lambda a: ops.trace(a, -1), (M,), np.trace(M, -1)),
    ("kron", lambda a, b: ops.kron(a, b), (A, B[:2]), np.kron(A, B[:2])),
    ("take_last_axis", lambda a, i: ops.take(a, i, axis=-1), (A, IDS), A[:, IDS]),
    ("take_below_zero", lambda a, i: ops.take(a, i - 3, axis=1), (A, IDS), A[:, IDS - 3]),
    ("take_along", lambda a, i: ops.take_along_axis(a, i, axis=1), (A, IDS[:, None]),
     np.take_along_axis(A, IDS[:, None], 1)),
    ("scatter", lambda v, i: ops.scatter(i, v, (4, 4)), (A, IDS[:, None]),
     np.concatenate([A[[1, 2, 0]], A[:1] * 0])),
    ("slice_update", lambda a, b: ops.slice_update(a, (1, 2), b), (A, B[:2, :2]),
     np.concatenate([A[:1], np.concatenate([A[1:, :2], B[:2, :2]], 1)])),
    ("select", lambda a, b: ops.select([a > 0, a < -1], [a, b], 7.0), (A, B),
     np.select([A > 0, A < -1], [A, B], 7.0)),
    ("one_hot_axis", lambda i: ops.one_hot(i, 4, axis=0), (IDS,), np.eye(4)[IDS].T),
    ("multi_hot", lambda i: ops.multi_hot(i, 7), (J,), np.eye(7)[J].max(1)),
    ("matmul_vector", lambda a, b: a @ b, (S, B[0]), S @ B[0]),
    ("vector_matmul", lambda a, b: ops.matmul(a, b), (B[0], M), B[0] @ M),
    ("dot", lambda a, b: ops.dot(a, b), (S, M), np.dot(S, M)),
    ("inner", lambda a, b: ops.inner(a, b), (S, A), np.inner(S, A)),
    ("tensordot", lambda a, b: ops.tensordot(a, b, [[1, 2], [0, 1]]), (S, A),
     np.tensordot(S, A, [[1, 2], [0, 1]])),
    ("cross", lambda a, b: ops.cross(a, b), (A[:, :3], B[:, :3]), np.cross(A[:, :3], B[:, :3])),
    ("solve", lambda a, b: ops.solve(a, b), (M, Q), np.linalg.solve(M, Q)),
    ("inverse", lambda a: ops.inv(a), (M,), np.linalg.inv(M)),
    ("rfft", lambda a: ops.rfft(a, 6)[1], (A,), np.fft.rfft(A, 6).imag),
    ("softmax_two_axes", lambda a: ops.softmax(a, axis=(0, 2)), (S,),
     np.exp(S) / np.exp(S).sum((0, 2), keepdims=True)),
    ("glu", lambda a: ops.glu(a), (A,), A[:, :2] / (1 + np.exp(-A[:, 2:]))),
    ("attention", lambda a: ops.dot_product_attention(a, a, a, scale=1.0)[0, :, 0],
     (S[:1, :, None],), softmax(S[0] @ S[0].T) @ S[0]),
    ("layer_normalization", lambda a: ops.layer_normalization(a, epsilon=1e-3), (A,),
     (A - A.mean(1, keepdims=True)) / np.sqrt(A.var(1, keepdims=True) + 1e-3)),
    ("cast_saturates", lambda a: ops.saturate_cast(a, "uint8"), (A * 300,),
     np.clip(A * 300, 0, 255).astype("uint8")),
    ("scan", lambda a: ops.scan(lambda c, x: (c + x, c * x), a[0] * 0, a)[0], (A,), A.sum(0)),
    ("fori_loop", lambda a: ops.fori_loop(0, 3, lambda i, c: c + i, a), (A,), A + 3),
    ("while_loop", lambda a: ops.while_loop(lambda i, c: i < 3, lambda i, c: (i + 1, c * 2),
                                            (0, a))[1], (A,), A * 8),
    ("switch", lambda a: ops.switch(ops.argmax(a[0]), [ops.negative] * 4, a), (A,), -A),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arrays", "want"), [v[1:] for v in VALUES],
                         ids=[v[0] for v in VALUES])  # fmt: skip
def test_op_computes_what_numpy_computes(function, arrays, want):
    for run in (lambda: function(*arrays), lambda: in_program(function, *arrays)):
        got = np.asarray(run())
        assert got.shape == np.shape(want)
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)


DTYPES = [
    (lambda: ops.divide(W, J), "float32"), (lambda: ops.mean(W), "float32"),
    (lambda: ops.exp(W), "float32"), (lambda: ops.sum(W), "int32"),
    (lambda: ops.sum(W > 0), "int32"), (lambda: ops.argmax(A), "int32"),
    (lambda: ops.add(W, 2), "int32"), (lambda: ops.add(W, 1.5), "float32"),
    (lambda: ops.add(W, A), "float32"), (lambda: ops.floor(W), "float32"),
    (lambda: ops.convert_to_tensor([1.0, 2.0]), "float32"),
    (lambda: ops.convert_to_tensor([1, 2]), "int32"), (lambda: ops.arange(3), "int32"),
    (lambda: ops.arange(0, 1, 0.5), "float32"), (lambda: ops.zeros((2,)), "float32"),
    (lambda: ops.less(A, 0), "bool"), (lambda: ops.full((2,), 3), "float32"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "dtype"), DTYPES)
def test_result_has_the_dtype_of_keras(function, dtype):
    assert function().dtype == dtype


KEYS = [
    0, -1, (0, 1), slice(1, None), (slice(None), slice(None, None, -1)), (None, 0),
    (Ellipsis, -1), (slice(None), 1, None), (1, Ellipsis, slice(0, 4, 2)), (slice(3, 0, -2),),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_tensor_is_sliced_as_an_array_is(key):
    np.testing.assert_array_equal(in_program(lambda s: s[key], S), S[key])


def test_a_tensor_is_indexed_by_tensors_as_an_array_by_arrays():
    rows, columns = np.array([1, 0], "int32"), np.array([[2], [1]], "int32")
    got = in_program(lambda s, r, c: (s[r], s[:, r, c], s[r, :, 0]), S, rows, columns)
    for value, want in zip(got, (S[rows], S[:, rows, columns], S[rows][:, :, 0]), strict=True):
        np.testing.assert_array_equal(value, want)


@pytest.mark.parametrize("spec", [
    "ij,jk->ik", "ij,kj->ki", "ij->ji", "ij->", "ii->i", "ij,ij->i", "i,j->ij", "ij,jk,kl->li",
    "...j,jk->...k", "ij,jk",
])  # fmt: skip
def test_einsum_is_that_of_numpy(spec):
    arrays = {"i": [M[0], Q[0]]}.get(spec.split(",")[0], [M, Q, M])[: spec.count(",") + 1]
    got = in_program(lambda *xs: ops.einsum(spec, *xs), *arrays)
    np.testing.assert_allclose(got, np.einsum(spec, *arrays), rtol=1e-4, atol=1e-5)


def test_operators_work_on_tensors_and_variables():
    v = Variable(B)
    got = in_program(lambda a: (1 - a) / v**2 + (a > v) * a - (-a) % 2.0 + abs(a) // 1, A)
    np.testing.assert_allclose(
        got, (1 - A) / B**2 + (A > B) * A - np.mod(-A, 2) + np.abs(A) // 1, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(v * 2 + 1, B * 2 + 1, rtol=1e-6)


def test_a_branch_on_a_tensor_chooses_results_and_assignments():
    v = Variable(np.float32(1))

    def step(a):
        return ops.cond(
            ops.sum(a) > 0, lambda: v.assign(v + 10.0), lambda: ops.negative(v.value)
        )  # fmt: skip

    assert in_program(step, P) == 11 and v.numpy() == 11
    assert in_program(step, -P) == -11 and v.numpy() == 11


def test_convolution_pads_same_as_keras_does():
    x, w = real(1, 6, 1), np.ones((3, 1, 1), "float32")
    same = ops.conv(x, w, strides=2, padding="same")[0, :, 0]
    padded = np.pad(x[0, :, 0], (0, 1))  # one cell is missing: it goes to the end
    np.testing.assert_allclose(same, [padded[i : i + 3].sum() for i in (0, 2, 4)], rtol=1e-5)


def test_cross_entropy_goes_back_to_the_logits():
    logits, target = np.float32([[200, 0, -200]]), np.float32([[0, 0, 1]])
    loss = in_program(lambda x, t: ops.categorical_crossentropy(t, ops.softmax(x)), logits, target)
    assert loss == pytest.approx([400])
    sparse = in_program(
        lambda x: ops.sparse_categorical_crossentropy(np.int32([2]), ops.softmax(x)), logits
    )
    assert sparse == pytest.approx([400])
    binary = in_program(lambda x, t: ops.binary_crossentropy(t, ops.sigmoid(x)), logits, target)
    np.testing.assert_allclose(binary, [[200, np.log(2), 200]], rtol=1e-5)


def test_cross_entropy_of_another_softmax_axis_stays_with_probabilities():
    with tracing():
        x = input_tensor("x", (3, 3))
        loss = ops.categorical_crossentropy(np.eye(3, dtype="float32"), ops.softmax(x, axis=0))
    assert "softmax" in [node.op.name for node in topological([loss.node])]


SLOPES = [
    lambda a, b: ops.logaddexp(a, b) + ops.logaddexp(a, a), lambda a, b: ops.fmod(a, P),
    lambda a, b: ops.take(a, IDS, axis=1) * ops.take(b, IDS - 3, axis=1),
    lambda a, b: a[:, IDS, None] + b[::-1, :3, None], lambda a, b: ops.cumsum(a, 1) * b,
    lambda a, b: ops.slice_update(a, (1, 1), b[:2, :2]), lambda a, b: ops.sparsemax(a) * b,
    lambda a, b: ops.einsum("ij,kj,lj->ikl", a, b, a), lambda a, b: ops.kron(a, b),
    lambda a, b: ops.pad(a, 1, "symmetric"), lambda a, b: ops.std(a, axis=1) * ops.norm(b),
    lambda a, b: ops.dot_product_attention(a[None, :, None], b[None, :, None], a[None, :, None]),
    lambda a, b: ops.normalize(a) * ops.gelu(b), lambda a, b: ops.roll(a, 1, 1) * ops.tril(b),
    lambda a, b: ops.solve(a[:, :3] + 3 * np.eye(3, dtype="f4"), b),
    lambda a, b: ops.segment_sum(a, IDS % 2, 2), lambda a, b: ops.sort(a, 1) * ops.top_k(b, 4)[0],
]  # fmt: skip


@pytest.mark.parametrize("function", SLOPES)
def test_gradients_of_composed_ops_are_slopes(function):
    weights = real(*np.shape(function(A, B)))
    total = lambda a, b: ops.sum(function(a, b) * weights)  # noqa: E731
    _, gradients, _ = value_and_grad(total, [A, B], [])
    for i, gradient in enumerate(gradients):
        step = real(3, 4)
        up, down = ([A, B], [A, B])
        up[i], down[i] = up[i] + 1e-3 * step, down[i] - 1e-3 * step
        slope = (float(total(*up)) - float(total(*down))) / 2e-3
        got = 0.0 if gradient is None else float((gradient * step).sum())
        assert got == pytest.approx(slope, rel=3e-2, abs=3e-2)


SHAPE_ERRORS = [
    lambda t: ops.squeeze(t, 0), lambda t: t[5], lambda t: t[0, 0, 0], lambda t: ops.sum(t, 2),
    lambda t: ops.split(t, 3, axis=1), lambda t: ops.einsum("ijk->i", t),
    lambda t: ops.tensordot(t, t, 1), lambda t: ops.categorical_crossentropy(t[:2], t),
    lambda t: ops.sparse_categorical_crossentropy(t, t),
]  # fmt: skip


@pytest.mark.parametrize("function", SHAPE_ERRORS)
def test_shapes_that_do_not_fit_are_refused_while_tracing(function):
    with tracing(), pytest.raises(ShapeError, match="Received"):
        function(input_tensor("t", (3, 4)))


UNKNOWN_SHAPES = [
    lambda t: ops.nonzero(t), lambda t: ops.where(t > 0), lambda t: ops.unique(t),
    lambda t: t[t > 0], lambda t: ops.reshape(t, (ops.sum(t), -1)),
    lambda t: ops.while_loop(lambda x: ops.sum(x) > 0, lambda x: x - 1, (t,)),
    lambda t: ops.bincount(ops.cast(t, "int32")), lambda t: ops.view(t, "int32"),
]  # fmt: skip


@pytest.mark.parametrize("function", UNKNOWN_SHAPES)
def test_results_whose_shape_depends_on_values_are_refused_in_a_trace(function):
    with tracing(), pytest.raises(UnsupportedError, match="Received"):
        function(input_tensor("t", (3, 4)))


def test_a_missing_op_is_named():
    with pytest.raises(UnsupportedError, match="ops has no 'no_such_op'"):
        _ = ops.no_such_op
    assert not hasattr(ops, "no_such_op")


def test_a_label_that_is_no_class_is_refused_when_the_program_runs():
    labels = np.int32([0, 7, 1])
    with pytest.raises(DataError, match="label"):
        in_program(lambda a, t: ops.sparse_categorical_crossentropy(t, a), softmax(A), labels)


# --- random numbers


def test_an_integer_seed_gives_the_same_numbers_always():
    for function in (random.normal, random.uniform, random.truncated_normal):
        np.testing.assert_array_equal(function((3, 4), seed=5), function((3, 4), seed=5))
        assert not np.array_equal(function((3, 4), seed=5), function((3, 4), seed=6))


def test_a_seed_generator_gives_other_numbers_each_time():
    made = random.SeedGenerator(5)
    first, second = random.normal((4,), seed=made), random.normal((4,), seed=made)
    assert not np.array_equal(first, second)
    again = random.SeedGenerator.from_config(made.get_config())
    np.testing.assert_array_equal(random.normal((4,), seed=again), first)


def test_set_random_seed_repeats_everything_unseeded():
    def draw():
        random.set_random_seed(3)
        return random.normal((3,)), random.uniform((3,)), random.SeedGenerator().state.numpy()

    for a, b in zip(draw(), draw(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_new_trace_draws_the_seeds_of_the_trace_before():
    made = random.SeedGenerator(5)
    draw = lambda: in_program(  # noqa: E731
        lambda a: (random.uniform((3,), seed=made), random.uniform((3,), seed=made) + 0 * a[0, 0]),
        A, rng=(4, 0),
    )  # fmt: skip
    first, second = draw(), draw()
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first[0], first[1])


def test_distributions_have_their_moments():
    for values, mean, std, low, high in [
        (random.normal((9999,), 1.0, 2.0, seed=1), 1, 2, -20, 20),
        (random.uniform((9999,), -1.0, 3.0, seed=1), 1, 4 / 12**0.5, -1, 3),
        (random.truncated_normal((9999,), 1.0, 2.0, seed=1), 1, 1.7593, -3, 5),
        (random.randint((9999,), 2, 5, seed=1), 3, (2 / 3) ** 0.5, 2, 4),
        (in_program(lambda a: random.randint((9999,), 2, 5), A), 3, (2 / 3) ** 0.5, 2, 4),
        (in_program(lambda a: random.truncated_normal((9999,), 1.0, 2.0), A), 1, 1.7593, -3, 5),
        (random.gamma((9999,), 4.0, seed=1), 4, 2, 0, 99),
        (random.binomial((9999,), 10, 0.5, seed=1), 5, 2.5**0.5, 0, 10),
    ]:
        assert abs(values.mean() - mean) < 0.1 and abs(values.std() - std) < 0.1
        assert values.min() >= low and values.max() <= high


def test_dropout_scales_what_it_keeps():
    x = np.ones((100, 40), "float32")
    y = random.dropout(x, 0.25, seed=1)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.03
    columns = random.dropout(x, 0.5, noise_shape=(None, 1), seed=1)
    assert (columns == columns[:, :1]).all()
    np.testing.assert_array_equal(random.dropout(x, 0.0), x)


def test_shuffle_and_categorical_follow_their_inputs():
    np.testing.assert_array_equal(np.sort(random.shuffle(np.arange(9), seed=2)), np.arange(9))
    drawn = random.categorical(np.log(np.float32([[0.01, 0.98, 0.01]])), 200, seed=3)
    assert drawn.shape == (1, 200) and (drawn == 1).mean() > 0.9


def test_bad_arguments_of_random_functions_are_refused():
    for call in (
        lambda: random.dropout(A, 1.5), lambda: random.uniform((2,), dtype="int32"),
        lambda: random.SeedGenerator("x"), lambda: random.set_random_seed(1.5),
        lambda: random.normal((2,), seed="x"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="Received"):
            call()
    with tracing(), pytest.raises(UnsupportedError, match="outside a traced"):
        random.binomial((3,), 2, 0.5)


def test_lu_goes_on_behind_a_column_of_zeros():
    both, pivots = ops.lu_factor(np.array([[0, 1], [0, 2]], np.float32))
    assert both.tolist() == [[0, 1], [0, 2]] and pivots.tolist() == [0, 1]


def test_slopes_of_equal_eigenvalues_are_finite():
    grads = value_and_grad(
        lambda v: ops.sum(ops.square(ops.linalg.eigh(v)[1])), [np.eye(3, dtype="f4")], []
    )[1]
    assert np.isfinite(grads[0]).all()


def test_quantiles_of_bfloat16_keep_it():
    x = ops.cast(np.eye(3), "bfloat16")
    assert {str(f(x).dtype) for f in (ops.nanmedian, lambda x: ops.nanquantile(x, 0.3))} == {
        "bfloat16"
    }
