"""What the machine can do at most: multiply-adds, and memory traffic of a few simple loops.

Measured on so many threads at once by C loops that gcc compiles for this CPU; where that fails the
limits are 0 and rows show no share. Each loop's best time of half a second counts.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SOURCE = """
#include <string.h>
#ifdef __AVX512F__
enum { BYTES = 64 };
#else
enum { BYTES = 32 };
#endif
#ifdef __x86_64__
#define OPAQUE "+v"
#else
#define OPAQUE "+w"
#endif
typedef float v __attribute__((vector_size(BYTES)));
enum { LANES = BYTES / sizeof(float) };

int lanes(void) { return LANES; }

float multiply_add(long n) {
    v s[12], a = {1}, b = {0.5f};
    for (int j = 0; j < 12; j++) s[j] = a * (float)j;
    for (long i = 0; i < n; i++) {
        __asm__ volatile("" : OPAQUE(a), OPAQUE(b));
#pragma GCC unroll 12
        for (int j = 0; j < 12; j++) s[j] = s[j] * a + b;
    }
    float t = 0;
    for (int j = 0; j < 12; j++) t += s[j][0];
    return t;
}

float read(const float *b, const float *c, float *a, long n) {
    v s[8] = {{0}};
    for (long i = 0; i < n; i += 8 * LANES)
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) s[j] += *(const v *)(b + i + j * LANES);
    for (int j = 1; j < 8; j++) s[0] += s[j];
    return s[0][0];
}

float copy(const float *b, const float *c, float *a, long n) {
    memcpy(a, b, n * sizeof(float));
    return 0;
}

float triad(const float *b, const float *c, float *a, long n) {
    for (long i = 0; i < n; i += LANES)
        *(v *)(a + i) = *(const v *)(b + i) + 0.5f * *(const v *)(c + i);
    return 0;
}

float update(const float *b, const float *c, float *a, long n) {
    for (long i = 0; i < n; i += LANES) *(v *)(a + i) += 0.5f * *(const v *)(b + i);
    return 0;
}
"""
STREAMS = {"read": 1, "copy": 2, "triad": 3, "update": 3}  # arrays read or written by each loop
FLOAT_BYTES, STEPS = 4, 2_000_000


class Limits(NamedTuple):
    """GFLOP/s of multiply-adds; GB/s of reading b, a = b, a = b + s * c, a += s * b."""

    flops: float = 0.0
    read: float = 0.0
    copy: float = 0.0
    triad: float = 0.0
    update: float = 0.0

    def of(self, unit: str, inplace: bool) -> float:
        """The limit of a row; of memory the best of the first three loops, or the one in place."""
        if unit == "GF/s":
            return self.flops
        return self.update if inplace else max(self.read, self.copy, self.triad)

    def __str__(self) -> str:
        memory = ", ".join(f"{name} {getattr(self, name):.1f}" for name in STREAMS)
        return f"{self.flops:.0f} GFLOP/s by FMA; memory {memory} GB/s"


def caches() -> dict[str, int]:
    """Bytes of the data caches that one core sees, smallest first; empty where Linux tells none."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = [(folder / n).read_text().strip() for n in ("level", "type", "size")]
        if kind != "Instruction":
            found[f"L{level}"] = int(size.rstrip("K")) * 1024
    return dict(sorted(found.items(), key=lambda item: item[1]))


def home(nbytes: int) -> str:
    """The smallest cache that holds a working set, or "mem"."""
    return next((name for name, size in caches().items() if nbytes <= size), "mem")


def compiled() -> Any:
    """The loops, or None without gcc."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "limits.so")
        command = ["gcc", "-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC", "-xc",
                   "-", "-o", str(library)]  # fmt: skip
        try:
            done = subprocess.run(command, input=SOURCE.encode(), capture_output=True)
        except FileNotFoundError:
            return None
        return None if done.returncode else ctypes.CDLL(str(library))


def measured(loops: Any, threads: int) -> Limits:
    """The limits of so many threads."""
    if loops is None:
        return Limits()
    with ThreadPoolExecutor(threads) as pool:

        def best(call: Callable[[int], object]) -> float:
            times, end = [], time.perf_counter() + 0.5
            while time.perf_counter() < end:
                start = time.perf_counter()
                list(pool.map(call, range(threads)))
                times.append(time.perf_counter() - start)
            return min(times)

        flops = threads * STEPS * 12 * 2 * loops.lanes()
        speed = flops / best(lambda i: loops.multiply_add(ctypes.c_long(STEPS))) / 1e9
        return Limits(speed, **_memory(loops, threads, best))


def _memory(loops: Any, threads: int, best: Callable[..., float]) -> dict[str, float]:
    """GB/s of each loop, over arrays that together are at least 6 times the largest cache."""
    largest = max(caches().values(), default=0)
    n = max(64 << 20, 2 * largest) // FLOAT_BYTES // threads // 1024 * 1024
    arrays = [np.ones(n * threads + 16, "f4") for _ in range(3)]
    starts = [a.ctypes.data + -a.ctypes.data % 64 for a in arrays]

    def run(name: str, thread: int) -> None:
        at = [ctypes.c_void_p(s + thread * n * FLOAT_BYTES) for s in starts]
        getattr(loops, name)(*at, ctypes.c_long(n))

    return {
        name: streams * n * threads * FLOAT_BYTES / best(lambda i, f=name: run(f, i)) / 1e9
        for name, streams in STREAMS.items()
    }
