"""Guards: many threads may read what one guards, or one thread may change it.

In: nothing. Out: blocks in which nobody else changes, or sees, the guarded Variables. A reader whom
no writer disturbs takes no lock. Knows neither Variables nor models.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import Any

_numbers = itertools.count(1)
_all: weakref.WeakSet[Guard] = weakref.WeakSet()


class Guard:
    """Readers side by side, writers alone and in turn. A thread may enter again what it is in, but
    a reader may not become a writer. Readers who had to wait enter before the next writer.

    Attributes:
        version: another number after every change; `touched` sets it.
    """

    def __init__(self) -> None:
        self.number = self.version = next(_numbers)
        self._free()
        _all.add(self)

    def _free(self) -> None:
        """Nobody is inside."""
        self._readers: dict[int, int] = {}  # thread -> how often it is inside
        self._writer = 0  # the thread that is inside, or waits for readers to leave
        self._depth = 0
        self._turn = threading.RLock()  # among writers
        self._open = threading.Event()  # no writer
        self._open.set()
        self._waiting: set[int] = set()  # readers
        self._moved = threading.Event()  # a reader has come in or left

    def touched(self) -> None:
        """Note that what is guarded has changed."""
        self.version = next(_numbers)

    def enter(self) -> None:
        """Start to read."""
        me, readers = get_ident(), self._readers
        if me in readers:
            readers[me] += 1
            return
        readers[me] = 1
        # Who comes first, reader or writer, sees the other: both note themselves, then look.
        if self._writer and self._writer != me:
            self._wait_to_enter(me)

    def _wait_to_enter(self, me: int) -> None:
        self._waiting.add(me)
        try:
            while self._writer:
                self._readers.pop(me, None)
                self._moved.set()
                self._open.wait()
                self._readers[me] = 1
        except BaseException:  # Ctrl-C
            self._readers.pop(me, None)
            raise
        finally:
            self._waiting.discard(me)
            self._moved.set()

    def leave(self) -> None:
        """Stop reading."""
        me, readers = get_ident(), self._readers
        if readers[me] > 1:
            readers[me] -= 1
            return
        del readers[me]
        if self._writer:
            self._moved.set()

    def _enter_alone(self) -> None:
        self._turn.acquire()
        self._depth += 1
        if self._depth > 1:
            return
        me = get_ident()
        if me in self._readers:
            self._depth -= 1
            self._turn.release()
            raise RuntimeError("A thread that reads Variables tried to change them meanwhile.")
        try:
            self._until(lambda: not self._waiting)
            self._open.clear()
            self._writer = me
            self._until(lambda: not self._readers)
        except BaseException:  # Ctrl-C
            self._leave_alone()
            raise

    def _until(self, reached: Any) -> None:
        while not reached():
            self._moved.clear()
            if not reached():
                self._moved.wait()

    def _leave_alone(self) -> None:
        self._depth -= 1
        if not self._depth:
            self._writer = 0
            self._open.set()
        self._turn.release()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Nobody changes anything inside the block."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Nobody else reads or changes anything inside the block."""
        self._enter_alone()
        try:
            yield
        finally:
            self._leave_alone()


class Guards:
    """Several Guards as one; all take them in the same order, so nobody waits in a circle."""

    def __init__(self, guards: Iterable[Guard]) -> None:
        self._guards = sorted(guards, key=lambda guard: guard.number)

    @property
    def version(self) -> tuple[int, ...]:
        return tuple([guard.version for guard in self._guards])

    def touched(self) -> None:
        """Note that what is guarded has changed."""
        for guard in self._guards:
            guard.touched()

    def enter(self) -> None:
        """Start to read."""
        for guard in self._guards:
            guard.enter()

    def leave(self) -> None:
        """Stop reading."""
        for guard in reversed(self._guards):
            guard.leave()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Nobody changes anything inside the block."""
        with ExitStack() as stack:
            for guard in self._guards:
                stack.enter_context(guard.reading())
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Nobody else reads or changes anything inside the block."""
        with ExitStack() as stack:
            for guard in self._guards:
                stack.enter_context(guard.writing())
            yield


NONE = Guards(())


def as_one(guards: Iterable[Guard]) -> Guard | Guards:
    """Several guards as one; NONE when there are none."""
    found = list({id(guard): guard for guard in guards}.values())
    return found[0] if len(found) == 1 else Guards(found) if found else NONE


def _free_all() -> None:
    """In a forked child: who was inside does not live here."""
    for guard in list(_all):
        guard._free()


os.register_at_fork(after_in_child=_free_all)
