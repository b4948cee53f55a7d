"""Steps that the driver leads, one after the other, because a callback wants to see each of them.

In: callbacks; the Variables whose values the ranks hold. Out: whether to lead, and Variables that
fetch their values when a hook first reads or sets them. Knows no boards and no programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from zoo_keras.callbacks.callback import Callback
from zoo_keras.training.programs import ModelPrograms
from zoo_keras.variables import Variable

_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


def wants_turns(callbacks: Iterable[Any]) -> bool:
    """Whether one of the callbacks has a hook that must run at every step."""
    return any(_hooked(callback, hook) for callback in callbacks for hook in _HOOKS)


def _hooked(callback: Any, hook: str) -> bool:
    if hook in getattr(callback, "__dict__", {}):
        return True
    definer = next((cls for cls in type(callback).__mro__ if hook in vars(cls)), Callback)
    if definer.__module__.partition(".")[0] == Callback.__module__.partition(".")[0]:
        # Ours need each step only to save or to write at it: the bar may skip some, and the ranks
        # themselves look for losses that are not finite.
        every = [getattr(callback, name, None) for name in ("save_freq", "update_freq")]
        return definer is not Callback and any(isinstance(steps, int) for steps in every)
    return True


class Lagging:
    """Variables on the driver while the ranks wait with newer values.

    Args:
        programs: those of their model here, which read them all at once.
        fetch: brings all of them up to date.
    """

    def __init__(
        self, programs: ModelPrograms, variables: Sequence[Variable], fetch: Callable[[], None]
    ) -> None:
        self.variables, self._programs, self._fetch = variables, programs, fetch
        self._before = [v.before_read for v in variables]
        self.fetched = False
        programs.behind = self._catch_up
        for variable in variables:
            variable.before_read = self._catch_up

    def _catch_up(self) -> None:
        self.end()
        self._fetch()
        self.fetched = True

    def end(self) -> None:
        """The ranks go on: what was not read stays as it is, and so does what hooks have hung
        up since."""
        if self._programs.behind == self._catch_up:
            self._programs.behind = None
        for variable, before in zip(self.variables, self._before, strict=True):
            if variable.before_read == self._catch_up:
                variable.before_read = before
