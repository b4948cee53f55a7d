"""Steps of an optimizer on the touched rows of a table, equal to steps on the whole table.

A row that a step does not touch has a gradient of zero, yet most optimizers move it: momentum goes
on, means decay. Such a row lags behind, and is brought up to date when it is read or touched. For
that, every step is noted (learning rate, step number), and `last` says for each row how many of the
noted steps it has seen. With k steps missed and a gradient of zero all updates are linear in w and
in the mean m, so they have closed forms whose coefficients depend on the lag k alone:

    w' = A w - m * sum_j c_j / (p_j * s + epsilon),  m' = B m,  v' = C v,  s = sqrt(v)

c_j holds the learning rate and bias correction of missed step j, beta_1**j, and the weight decay of
the steps after it; p_j is beta_2**(j/2). The p_j lie close together as far as c_j counts, so the
sum is expanded about their centre a, in central moments M_n of p under the weights c:

    sum_j c_j / (p_j s + eps) = r (M0 + u**2 M2 - u**3 M3 + u**4 M4), r = 1 / (a s + eps), u = s r

The rest is below 1e-7 of the sum where M4 is below 1e-6 a**4 M0; elsewhere the steps are made one
by one. For momentum, amsgrad and Lion the sum has one term, M0; RMSprop, Adagrad and Adadelta move
no weight without gradient; Ftrl's weights follow from its slots and the last learning rate (not
with shrinkage).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import DataError, ShapeError
from zoo_keras.graph import Spec
from zoo_keras.native import lib
from zoo_keras.primitives.index import IDS, check_ids
from zoo_keras.primitives.op import Sample, op
from zoo_keras.primitives.update import HOW, KINDS, kind_numbers, optimizer_update, update_inputs

STEPS = 512  # noted at most; then all rows are settled
NOTE: int = lib.ZK_NOTE_WIDTH  # columns of the notes
WIDTH: int = lib.ZK_LAG_WIDTH  # columns of the coefficients
LR, COUNT, RATE, ROOT = lib.ZK_NOTE_LR, lib.ZK_NOTE_COUNT, lib.ZK_NOTE_RATE, lib.ZK_NOTE_ROOT
KEPT = lib.ZK_NOTE_KEPT
_COLUMNS = [getattr(lib, f"ZK_LAG_{name}") for name in "A B C CENTRE M0 M2 M3 M4".split()]
_HOW = HOW | {"ftrl": (0.01, 0.02, 0.1, 0.0)}  # no replay with shrinkage

Arrays = tuple[np.ndarray, ...]


@op(
    kernel=True,
    shape=lambda ids: Spec((3 * int(np.prod(ids.shape, dtype=np.int64)) + 2,), "int32"),
    dtypes=lambda ids: ids.dtype in IDS,
    samples=[
        Sample([(3, 5)], {}, ["int32"], 0, 6),
        Sample([(1,)], {}, ["int64"], 0, 6),
        Sample([(0, 2)], {}, ["int32"], 0, 3),
    ],
)
def sort_ids(ids: np.ndarray) -> np.ndarray:
    """Where each id occurs: n ids give 3n + 2 numbers: count, the `count` different ids in
    ascending order (n places, -1 after), where each begins in the order (n + 1 places, the last one
    used is n, 0 after), and the order of positions (n) that sorts the ids."""
    flat = ids.reshape(-1)
    check_ids(flat, 2**31)
    order = np.argsort(flat, kind="stable")
    found, first = np.unique(flat[order], return_index=True)
    result = np.zeros(3 * flat.size + 2, np.int32)
    result[0], result[1 : flat.size + 1] = found.size, -1
    result[1 : found.size + 1] = found
    begin = result[flat.size + 1 : 2 * flat.size + 2]
    begin[: found.size], begin[found.size] = first, flat.size
    result[2 * flat.size + 2 :] = order
    return result


def _sorted_parts(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = (packed.size - 2) // 3
    count = packed[0]
    return packed[1 : count + 1], packed[n + 1 : n + count + 2], packed[2 * n + 2 :]


# ---- notes -------------------------------------------------------------------------------------


def _padded(attrs: dict[str, Any], *rest: float) -> list[float]:
    """Kind and numbers, and then enough others that C may read the most that any kind has."""
    spare = [0.0] * lib.ZK_OPTIMIZER_NUMBERS
    return [*kind_numbers(attrs["kind"], attrs["how"]), *rest, *spare]


def _note_sample(rng: np.random.Generator) -> list[np.ndarray]:
    notes = rng.uniform(size=(7, NOTE))
    scalars = np.asarray(3, "int32"), np.asarray(0.1, "f4"), np.asarray(12, "f4")
    return [notes, *scalars]


@op(
    kernel=True,
    shape=lambda notes, n, lr, step, **attrs: notes,
    attrs_to_c=lambda attrs, ins, outs: _padded(attrs, attrs["decay"]),
    dtypes=lambda *specs: [s.dtype for s in specs] == ["float64", "int32", "float32", "float32"],
    inplace=(0,),
    samples=[
        Sample((), {"kind": kind, "how": how, "decay": 0.1}, make=_note_sample)
        for kind, how in _HOW.items()
    ],
)
def note_update(
    notes: np.ndarray,
    n: np.ndarray,
    lr: np.ndarray,
    step: np.ndarray,
    *,
    kind: str,
    how: Sequence[float],
    decay: float,
) -> np.ndarray:
    """notes (STEPS, NOTE) float64 with row n for the step just made: learning rate, step, the
    factors of m and of sqrt(v) in a step without gradient, and what weight decay leaves of w."""
    notes = notes.copy()
    if not 0 <= n < len(notes):
        raise DataError("note_update: no room for another step.")
    rate, root = _without_gradient(kind, how, float(lr), float(step))
    notes[n, [LR, COUNT, RATE, ROOT]] = float(lr), float(step), rate, root
    notes[n, KEPT] = 1 - decay * float(lr)
    return notes


def _without_gradient(kind: str, k: Sequence[float], lr: float, t: float) -> tuple[float, float]:
    """A step of gradient zero moves w by -rate * m / (root * sqrt(v) + epsilon)."""
    if kind == "momentum":
        return (-k[0] if k[1] else -1.0), 1.0
    if kind in ("adam", "amsgrad"):
        return lr * np.sqrt(1 - k[1] ** t) / (1 - k[0] ** t), 1.0
    if kind == "adamax":
        return lr / (1 - k[0] ** t), 1.0
    if kind == "nadam":
        beta = k[0] * (1 - 0.5 * 0.96 ** np.arange(1, t + 2))
        return lr * beta[-1] / (1 - np.prod(beta)), 1 / np.sqrt(1 - k[1] ** t)
    return (1.0 if kind.startswith("rmsprop") and kind.endswith("momentum") else lr), 1.0


def _noted(rng: np.random.Generator, kind: str, how: Sequence[float], n: int) -> np.ndarray:
    """Notes of n steps of a training whose learning rate changes."""
    notes, first = np.zeros((9, NOTE)), int(rng.integers(1, 200))
    for i in range(n):
        lr, step = np.float32(rng.uniform(0.01, 0.1)), np.float32(first + i)
        notes = note_update(notes, np.int32(i), lr, step, kind=kind, how=how, decay=0.1)
    return notes


def _factors(kind: str, k: Sequence[float]) -> tuple[float, float, float, float]:
    """What a step multiplies m and v by, m's share in the next step's movement, and sqrt(v)."""
    if kind == "momentum":
        return k[0], 1.0, k[0], 1.0
    if kind in ("adam", "nadam", "amsgrad", "adamax"):
        root = {"amsgrad": 1.0, "adamax": k[1]}.get(kind, float(np.sqrt(k[1])))
        return k[0], k[1], k[0], root
    if kind.startswith("rmsprop"):
        share = k[2] if kind.endswith("momentum") else 1.0
        return share, k[0], share, 1.0
    if kind == "adadelta":
        return 1.0, k[0], 1.0, 1.0
    return (k[1] if kind == "lion" else 1.0), 1.0, 1.0, 1.0


def _coefficients_sample(kind: str, how: Sequence[float], n: int) -> Sample:
    return Sample(
        (),
        {"kind": kind, "how": how},
        make=lambda rng: [_noted(rng, kind, how, n), np.array(n, "i4")],
    )


@op(
    kernel=True,
    shape=lambda notes, n, **attrs: Spec((notes.shape[0] + 1, WIDTH), "float32"),
    attrs_to_c=lambda attrs, ins, outs: _padded(attrs),
    dtypes=lambda notes, n: (notes.dtype, n.dtype) == ("float64", "int32"),
    samples=[_coefficients_sample(kind, how, n) for kind, how in _HOW.items() for n in (0, 6)],
)
def replay_coefficients(
    notes: np.ndarray, n: np.ndarray, *, kind: str, how: Sequence[float]
) -> np.ndarray:
    """(STEPS + 1, WIDTH) float32: for each lag up to n: A, B, C, the centre (-1: the steps must be
    made one by one), M0, M2, M3, M4."""
    b, c, share, root = _factors(kind, how)
    table = np.zeros((len(notes) + 1, WIDTH))
    kept, raw, powers = 1.0, np.zeros(5), np.arange(5)
    for lag in range(int(n) + 1):
        table[lag, _COLUMNS] = kept, b**lag, c**lag, *_central(raw)
        if kind == "ftrl" and n:
            table[lag, lib.ZK_LAG_M0] = notes[int(n) - 1, LR]
        if lag < n:
            note = notes[int(n) - 1 - lag]
            raw = share * root**powers * (note[RATE] * kept * note[ROOT] ** powers + raw)
            kept *= note[KEPT]
    return table.astype(np.float32)


def _central(raw: np.ndarray) -> tuple[float, ...]:
    """The centre and the central moments 0, 2, 3, 4 from raw moments 0..4."""
    m0 = raw[0]
    a = float(np.float32(raw[1] / m0)) if m0 else 1.0
    m2 = raw[2] - 2 * a * raw[1] + a * a * m0
    m3 = raw[3] - 3 * a * raw[2] + 3 * a * a * raw[1] - a**3 * m0
    m4 = raw[4] - 4 * a * raw[3] + 6 * a * a * raw[2] - 4 * a**3 * raw[1] + a**4 * m0
    near = a > 0 and abs(m4) <= 1e-6 * abs(m0) * a**4
    return (a if near else -1.0), m0, m2, m3, m4


# ---- rows --------------------------------------------------------------------------------------


def _replayed(
    vectors: Sequence[np.ndarray], last: np.ndarray, notes: np.ndarray, n: int, kind: str,
    how: Sequence[float],
) -> list[np.ndarray]:  # fmt: skip
    """Table and slots with all missed steps made one by one."""
    found = [v.copy() for v in vectors]
    for i, note in enumerate(notes[:n]):
        behind = last <= i
        w, *slots = (v[behind] for v in found)
        lr, none = np.asarray(note[LR], w.dtype), np.zeros_like(w)
        new = KINDS[kind].formula(w * note[KEPT], none, tuple(slots), lr, float(note[COUNT]), how)
        for v, now in zip(found, new, strict=True):
            v[behind] = now
    return found


def _lagging(rng: np.random.Generator, kind: str, n: int, d: int) -> list[np.ndarray]:
    """w, slots, last, coefficients, notes, n: a table of 9 rows that lag up to n steps behind."""
    how = _HOW[kind]
    w, _, *slots = update_inputs(rng, kind, 9 * d, False)[:-3]
    if kind == "amsgrad":
        slots[2] = np.maximum(slots[1], slots[2])
    notes, count = _noted(rng, kind, how, n), np.int32(n)
    coefficients = replay_coefficients(notes, count, kind=kind, how=how)
    vectors = [v.reshape(9, d) for v in (w, *slots)]
    return [*vectors, rng.integers(0, n + 1, 9).astype(np.int32), coefficients, notes, count]


def _kind_attrs(kind: str, **rest: Any) -> dict[str, Any]:
    return {"kind": kind, "how": _HOW[kind], **rest}


_SIZES = ((0, 3), (6, 5), (9, 37))


def _table_dtypes(*specs: Spec) -> bool:
    known = ("float32", "float64", *IDS)
    return specs[0].dtype == "float32" and all(s.dtype in known for s in specs)


def _read_shape(*specs: Spec, **attrs: Any) -> Spec:
    return Spec((*specs[-1].shape, *specs[0].shape[1:]), specs[0].dtype)


def _read_sample(kind: str, n: int, d: int) -> Sample:
    def make(rng: np.random.Generator) -> list[np.ndarray]:
        return [*_lagging(rng, kind, n, d), rng.integers(0, 9, (2, 3)).astype(np.int32)]

    return Sample((), _kind_attrs(kind), make=make)


@op(
    kernel=True,
    shape=_read_shape,
    attrs_to_c=lambda attrs, ins, outs: _padded(attrs),
    dtypes=_table_dtypes,
    samples=[_read_sample(kind, *size) for kind in _HOW for size in _SIZES],
)
def gather_replayed(*inputs: np.ndarray, kind: str, how: Sequence[float]) -> np.ndarray:
    """(w, *slots, last, coefficients, notes, n, ids) -> rows of w by ids, caught up; the table
    itself stays as it is."""
    *vectors, last, _, notes, n, ids = inputs
    check_ids(ids, len(last))
    result: np.ndarray = _replayed(vectors, last, notes, int(n), kind, how)[0][ids]
    return result


def _rows_shape(*specs: Spec, kind: str, **attrs: Any) -> tuple[Spec, ...]:
    slots = KINDS[kind].slots
    if any(s.shape != specs[0].shape for s in specs[: slots + 1]):
        raise ShapeError("table and slots must have one shape.")
    return specs[: slots + 2]


def _rows_sample(kind: str, n: int, d: int, **extra: Any) -> Sample:
    def make(rng: np.random.Generator) -> list[np.ndarray]:
        ids = rng.integers(0, 9, 7).astype(np.int32)
        g = rng.uniform(-1, 1, (7, d)).astype(np.float32)
        scalars = [np.float32(x) for x in (0.05, 210, 0.75)]
        return [*_lagging(rng, kind, n, d), g, sort_ids(ids), *scalars]

    return Sample((), _kind_attrs(kind, replayed=True, **extra), make=make)


def _rows_to_c(attrs: dict[str, Any], ins: Any, outs: Any) -> list[float]:
    rest = attrs.get("clip", 0.0), attrs.get("decay", 0.0), -1.0, float(attrs["replayed"])
    return [*kind_numbers(attrs["kind"], attrs["how"]), *rest]


@op(
    kernel=True,
    shape=_rows_shape,
    attrs_to_c=_rows_to_c,
    dtypes=_table_dtypes,
    inplace=(0, 1, 2, 3, 4),
    samples=[
        *[_rows_sample(kind, *size) for kind in _HOW for size in _SIZES],
        _rows_sample("adam", 6, 3, clip=0.3, decay=0.1),
    ],
)
def rows_update(
    *inputs: np.ndarray,
    kind: str,
    how: Sequence[float],
    replayed: bool,
    clip: float = 0.0,
    decay: float = 0.0,
) -> Arrays:
    """(w, *slots, last, coefficients, notes, n, g, sorted, lr, step, scale) -> (w, *slots, last):
    the rows that `sorted` (of sort_ids) names are caught up and make one step with the sums of
    their rows of g (ids, ...). Other rows stay as they are.

    Args:
        replayed: steps are noted, so `last` of the touched rows becomes n + 1; else it stays 0.
    """
    *vectors, last, _, notes, n, g, packed, lr, step, scale = inputs
    unique, first, order = _sorted_parts(packed)
    touched = np.full_like(last, n)
    touched[unique] = last[unique]
    found, last = _replayed(vectors, touched, notes, int(n), kind, how), last.copy()
    for row, begin, end in zip(unique, first, first[1:], strict=False):
        rows = [v[row] for v in found]
        total = g.reshape(-1, *rows[0].shape)[order[begin:end]].sum(0)
        new = optimizer_update.reference(
            rows[0], total, *rows[1:], lr, step, scale, kind=kind, how=how, clip=clip, decay=decay
        )
        for v, now in zip(found, new, strict=True):
            v[row] = now
    last[unique] = n + 1 if replayed else 0
    return *found, last


@op(
    kernel=True,
    shape=_rows_shape,
    attrs_to_c=lambda attrs, ins, outs: _padded(attrs),
    dtypes=_table_dtypes,
    inplace=(0, 1, 2, 3, 4),
    samples=[
        Sample((), _kind_attrs(kind), make=lambda rng, k=kind, s=size: _lagging(rng, k, *s))
        for kind in _HOW
        for size in _SIZES
    ],
)
def settle_rows(*inputs: np.ndarray, kind: str, how: Sequence[float]) -> Arrays:
    """(w, *slots, last, coefficients, notes, n) -> (w, *slots, last): all rows caught up, and lags
    counted from 0 again."""
    *vectors, last, _, notes, n = inputs
    return *_replayed(vectors, last, notes, int(n), kind, how), np.zeros_like(last)
