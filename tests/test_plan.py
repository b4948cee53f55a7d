"""The memory plan: buffers that live together never overlap, and the rest shares memory."""

from __future__ import annotations

import numpy as np
import pytest

from zoo_keras.passes.memory import ALIGN, Buffer, most_alive, padded, plan


def random_buffers(seed: int, count: int = 60) -> list[Buffer]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        first = int(rng.integers(0, 40))
        size = int(rng.choice([0, 1, 63, 64, 65, int(rng.integers(1, 5000))]))
        found.append(Buffer(size, first, first + int(rng.integers(0, 25))))
    return found


def together(a: Buffer, b: Buffer) -> bool:
    return a.first <= b.last and b.first <= a.last


def overlap(a: Buffer, b: Buffer) -> bool:
    return a.offset < b.offset + b.size and b.offset < a.offset + a.size


@pytest.mark.parametrize("seed", range(20))
def test_buffers_alive_together_do_not_overlap(seed):
    buffers = random_buffers(seed)
    needed = plan(buffers)
    for i, a in enumerate(buffers):
        assert a.offset % ALIGN == 0
        assert a.offset + a.size <= needed
        assert not any(together(a, b) and overlap(a, b) for b in buffers[:i] if a.size and b.size)


@pytest.mark.parametrize("seed", range(20))
def test_the_arena_lies_between_the_peak_and_the_sum(seed):
    buffers = random_buffers(seed)
    needed = plan(buffers)
    steps = range(max(b.last for b in buffers) + 1)
    peak = max(sum(padded(b.size) for b in buffers if b.first <= s <= b.last) for s in steps)
    assert peak == most_alive(buffers)
    assert peak <= needed < sum(padded(b.size) for b in buffers)


def test_a_backward_pass_wastes_little():
    """What a chain of 60 layers keeps for its way back, with short-lived buffers between."""
    sizes = np.random.default_rng(0).integers(1, 100, 60) * 4096
    kept = [Buffer(int(n), i, 119 - i) for i, n in enumerate(sizes)]
    sent = [Buffer(int(n), 119 - i, 120 - i) for i, n in enumerate(sizes)]
    scratch = [Buffer(50_000, i, i) for i in range(121)]
    buffers = kept + sent + scratch
    assert plan(buffers) <= 1.05 * most_alive(buffers)


def test_no_buffers_need_nothing():
    assert plan([]) == most_alive([]) == 0


def test_the_plan_depends_on_the_buffers_alone():
    one, two = random_buffers(3), random_buffers(3)
    assert plan(one) == plan(two)
    assert [b.offset for b in one] == [b.offset for b in two]


CASES = [
    ("nothing", [], 0, []),
    ("one", [(100, 0, 3)], 128, [0]),
    ("one after the other", [(100, 0, 1), (100, 2, 3)], 128, [0, 0]),
    ("last step of one is the first of the next", [(64, 0, 2), (64, 2, 3)], 128, [0, 64]),
    ("where a larger one was", [(256, 0, 1), (64, 2, 9), (64, 2, 9)], 256, [0, 0, 64]),
    ("a gap", [(192, 0, 9), (128, 0, 1), (64, 0, 9), (64, 2, 9)], 384, [0, 192, 320, 192]),
    ("no bytes need no room", [(0, 0, 9), (64, 0, 9)], 64, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("lives", "needed", "offsets"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_each_buffer_lies_at_the_lowest_free_place(lives, needed, offsets):
    buffers = [Buffer(*life) for life in lives]
    assert plan(buffers) == needed
    assert offsets is None or [b.offset for b in buffers] == offsets
