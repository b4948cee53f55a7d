"""The hashes of Keras' Hashing and lookups: FarmHash Fingerprint64, SipHash-2-4 with a salt.

In: a flat column of text or whole numbers (hashed as decimal text). Out: uint64 hashes, or buckets.
All values of one kind of length are hashed together, eight bytes at a time, in wrapping uint64.
Source: google/farmhash (farmhashna), Aumasson and Bernstein, "SipHash" (2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_U = np.uint64
_K0, _K1, _K2 = _U(0xC3A5C85C97CB3127), _U(0xB492B66FBE98F273), _U(0x9AE16A3B2F90404F)


def buckets(values: np.ndarray, count: int, salt: Sequence[int] | None = None) -> np.ndarray:
    """The hash of every value modulo `count`; a salt of two numbers chooses SipHash."""
    texts = _Texts([_bytes(v) for v in values.tolist()])
    with np.errstate(over="ignore"):
        hashes = fingerprints(texts) if salt is None else sip_hashes(texts, salt)
    return hashes % _U(count)


def crossed(columns: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Modulo `count`, one hash of the values that stand side by side in flat columns.

    Text counts by its fingerprint, whole numbers by themselves. Source: tf.sparse.cross_hashed.
    """
    mul = _U(0xC6A4A7935BD1E995)
    found = np.full(len(columns[0]), 0xDECAFCAFFE, _U)
    with np.errstate(over="ignore"):
        for column in columns:
            texts = column.dtype == object
            each = fingerprints(_Texts([_bytes(v) for v in column.tolist()])) if texts else column
            found = ((found ^ mul) ^ (_mix(each.astype(_U) * mul) * mul)) * mul
            found = _mix(_mix(found) * mul)
    return found % _U(count)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


class _Texts:
    """Many byte strings in one array, read eight bytes at a time.

    Attributes:
        start, length: int64, one for each string.
    """

    def __init__(self, values: Sequence[bytes]) -> None:
        self.length = np.array([len(v) for v in values], np.int64)
        self.start = np.concatenate([[0], np.cumsum(self.length)])[:-1]
        self._bytes = np.frombuffer(b"".join(values) + bytes(8), np.uint8)

    def word(self, at: np.ndarray, size: int = 8) -> np.ndarray:
        """The `size` bytes at each position as a little-endian number."""
        found = self._bytes[at[:, None] + np.arange(size)]
        return np.ascontiguousarray(found).view(f"<u{size}")[:, 0].astype(_U)

    def tail(self, at: np.ndarray, count: np.ndarray) -> np.ndarray:
        """The first `count` (0 to 7) bytes at each position as a number."""
        mask = (_U(1) << (_U(8) * count.astype(_U))) - _U(1)
        return self.word(at) & mask


def _rotate(x: np.ndarray, by: int) -> np.ndarray:
    """Bits moved to the right, around the end."""
    return (x >> _U(by)) | (x << _U(64 - by))


def _mix(x: np.ndarray) -> np.ndarray:
    return x ^ (x >> _U(47))


def _join(u: np.ndarray, v: np.ndarray, mul: np.ndarray) -> np.ndarray:
    a = _mix((u ^ v) * mul)
    return _mix((v ^ a) * mul) * mul


# ---- FarmHash ------------------------------------------------------------------------------------


def fingerprints(texts: _Texts) -> np.ndarray:
    """Fingerprint64 of every string."""
    found = np.full(len(texts.length), _K2, _U)
    for low, high, function in _KINDS:
        chosen = np.flatnonzero((texts.length >= low) & (texts.length <= high))
        if chosen.size:
            found[chosen] = function(texts, texts.start[chosen], texts.length[chosen])
    for blocks in np.unique((texts.length[texts.length > 64] - 1) // 64).tolist():
        chosen = np.flatnonzero((texts.length > 64) & ((texts.length - 1) // 64 == blocks))
        found[chosen] = _long(texts, texts.start[chosen], texts.length[chosen], blocks)
    return found


def _up_to_3(texts: _Texts, s: np.ndarray, n: np.ndarray) -> np.ndarray:
    first, middle, last = (texts.word(at, 1) for at in (s, s + (n >> 1), s + n - 1))
    y, z = first + (middle << _U(8)), n.astype(_U) + (last << _U(2))
    return _mix(y * _K2 ^ z * _K0) * _K2


def _up_to_7(texts: _Texts, s: np.ndarray, n: np.ndarray) -> np.ndarray:
    size = n.astype(_U)
    a, b = texts.word(s, 4), texts.word(s + n - 4, 4)
    return _join(size + (a << _U(3)), b, _K2 + size * _U(2))


def _up_to_16(texts: _Texts, s: np.ndarray, n: np.ndarray) -> np.ndarray:
    mul = _K2 + n.astype(_U) * _U(2)
    a, b = texts.word(s) + _K2, texts.word(s + n - 8)
    return _join(_rotate(b, 37) * mul + a, (_rotate(a, 25) + b) * mul, mul)


def _up_to_32(texts: _Texts, s: np.ndarray, n: np.ndarray) -> np.ndarray:
    mul = _K2 + n.astype(_U) * _U(2)
    a, b = texts.word(s) * _K1, texts.word(s + 8)
    c, d = texts.word(s + n - 8) * mul, texts.word(s + n - 16) * _K2
    return _join(
        _rotate(a + b, 43) + _rotate(c, 30) + d, a + _rotate(b + _K2, 18) + c, mul
    )  # fmt: skip


def _up_to_64(texts: _Texts, s: np.ndarray, n: np.ndarray) -> np.ndarray:
    mul = _K2 + n.astype(_U) * _U(2)
    a, b = texts.word(s) * _K2, texts.word(s + 8)
    c, d = texts.word(s + n - 8) * mul, texts.word(s + n - 16) * _K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _join(y, a + _rotate(b + _K2, 18) + c, mul)
    e, f = texts.word(s + 16) * mul, texts.word(s + 24)
    g, h = (y + texts.word(s + n - 32)) * mul, (z + texts.word(s + n - 24)) * mul
    return _join(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, mul)


_KINDS = ((1, 3, _up_to_3), (4, 7, _up_to_7), (8, 16, _up_to_16), (17, 32, _up_to_32),
          (33, 64, _up_to_64))  # fmt: skip

Pair = tuple[np.ndarray, np.ndarray]


def _weak(texts: _Texts, s: np.ndarray, a: np.ndarray, b: np.ndarray) -> Pair:
    w, x, y, z = (texts.word(s + i) for i in (0, 8, 16, 24))
    a = a + w
    b, c = _rotate(b + a + z, 21), a
    a = a + x + y
    return a + z, b + _rotate(a, 44) + c


class _State:
    """What a block of 64 bytes changes: x, y, z and the pairs v, w."""

    def __init__(self, texts: _Texts, s: np.ndarray) -> None:
        seed, zero = _U(81), np.zeros(len(s), _U)
        self.texts = texts
        self.y = zero + (seed * _K1 + _U(113))
        self.z = _mix(self.y * _K2 + _U(113)) * _K2
        self.v: Pair = (zero, zero)
        self.w: Pair = (zero, zero)
        self.x = seed * _K2 + texts.word(s)

    def block(self, s: np.ndarray, mul: Any, by: int) -> None:
        """One block; `by` is 1, and 9 for the last."""
        word, v, w, times = self.texts.word, self.v, self.w, _U(by)
        x = _rotate(self.x + self.y + v[0] + word(s + 8), 37) * mul
        y = _rotate(self.y + v[1] + word(s + 48), 42) * mul
        x ^= w[1] * times
        y += v[0] * times + word(s + 40)
        z = _rotate(self.z + w[0], 33) * mul
        self.v = _weak(self.texts, s, v[1] * mul, x + w[0])
        self.w = _weak(self.texts, s + 32, z + w[1], y + word(s + 16))
        self.x, self.y, self.z = z, y, x


def _long(texts: _Texts, s: np.ndarray, n: np.ndarray, blocks: int) -> np.ndarray:
    """More than 64 bytes: whole blocks, then the last 64 bytes."""
    state = _State(texts, s)
    for i in range(blocks):
        state.block(s + 64 * i, _K1, 1)
    mul = _K1 + ((state.z & _U(0xFF)) << _U(1))
    (v0, v1), (w0, w1) = state.v, state.w
    w0 = w0 + ((n - 1) & 63).astype(_U)
    v0 = v0 + w0
    state.v, state.w = (v0, v1), (w0 + v0, w1)
    state.block(s + n - 64, mul, 9)
    v, w = state.v, state.w
    low = _join(v[0], w[0], mul) + _mix(state.y) * _K0 + state.z
    return _join(low, _join(v[1], w[1], mul) + state.x, mul)


# ---- SipHash -------------------------------------------------------------------------------------


def sip_hashes(texts: _Texts, salt: Sequence[int]) -> np.ndarray:
    """SipHash-2-4 of every string, keyed by two numbers."""
    k0, k1 = (_U(int(k) & (2**64 - 1)) for k in salt)
    starts = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    found = np.zeros(len(texts.length), _U)
    for words in np.unique(texts.length // 8).tolist():
        chosen = np.flatnonzero(texts.length // 8 == words)
        s, n = texts.start[chosen], texts.length[chosen]
        v = [np.full(len(s), _U(c) ^ k, _U) for c, k in zip(starts, (k0, k1, k0, k1), strict=True)]
        for i in range(words):
            _absorb(v, texts.word(s + 8 * i))
        _absorb(v, texts.tail(s + 8 * words, n % 8) | ((n & 255).astype(_U) << _U(56)))
        v[2] ^= _U(0xFF)
        for _ in range(4):
            _round(v)
        found[chosen] = v[0] ^ v[1] ^ v[2] ^ v[3]
    return found


def _absorb(v: list[np.ndarray], word: np.ndarray) -> None:
    v[3] ^= word
    _round(v)
    _round(v)
    v[0] ^= word


def _round(v: list[np.ndarray]) -> None:
    v[0] = v[0] + v[1]
    v[2] = v[2] + v[3]
    v[1] = _rotate(v[1], 51) ^ v[0]
    v[3] = _rotate(v[3], 48) ^ v[2]
    v[0] = _rotate(v[0], 32)
    v[2] = v[2] + v[1]
    v[0] = v[0] + v[3]
    v[1] = _rotate(v[1], 47) ^ v[2]
    v[3] = _rotate(v[3], 43) ^ v[0]
    v[2] = _rotate(v[2], 32)
