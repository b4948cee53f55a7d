"""Values: what eager calls give, numpy arrays that also answer `.numpy()`, as old scripts expect.

In: a numpy array. Out: a view of it. Whoever asks for an array's exact type means one of ARRAYS.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Values(np.ndarray):
    """An array, in all that numpy does with it."""

    def numpy(self) -> np.ndarray:
        """The plain array (a number where there are no axes), as tensors of TensorFlow give it."""
        plain = self.view(np.ndarray)
        return plain if self.ndim else plain[()]

    def __array_wrap__(
        self, array: np.ndarray, context: Any = None, return_scalar: bool = False
    ) -> Any:
        """Sums and the like are numpy's numbers, as those of plain arrays are."""
        if return_scalar or (type(array) is np.ndarray and array.ndim == 0):
            return array.view(np.ndarray)[()]
        return array.view(Values)

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))


ARRAYS = (np.ndarray, Values)


def answering(result: Any) -> Any:
    """The result of an eager call, its arrays as Values."""
    kind = type(result)
    if kind is np.ndarray:
        return result.view(Values)
    if kind is list or kind is tuple:
        return kind([answering(item) for item in result])
    return result
