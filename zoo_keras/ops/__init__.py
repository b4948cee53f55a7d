"""The public ops: `zoo_keras.ops` has the names, arguments and results of `keras.ops`.

They work on tensors of a model being traced, on the KerasTensors a model is built from, on
Variables, and on arrays (then they compute at once). Importing this module declares every
primitive op, so the registry is complete, and gives tensors Python's operators.
"""

from __future__ import annotations

from typing import Any

from zoo_keras.graph import operators
from zoo_keras.missing import missing
from zoo_keras.ops import (
    complexes,
    control,
    convolution,
    core,
    creation,
    ctc,
    differentiation,
    elementwise,
    images,
    indexing,
    neural,
    pixels,
    products,
    rearranging,
    reduction,
    resampling,
    shaping,
    signals,
    sorting,
    special,
)
from zoo_keras.ops.complexes import *  # noqa: F403
from zoo_keras.ops.control import *  # noqa: F403
from zoo_keras.ops.convolution import *  # noqa: F403
from zoo_keras.ops.core import *  # noqa: F403
from zoo_keras.ops.creation import *  # noqa: F403
from zoo_keras.ops.ctc import *  # noqa: F403
from zoo_keras.ops.differentiation import *  # noqa: F403
from zoo_keras.ops.elementwise import *  # noqa: F403
from zoo_keras.ops.indexing import *  # noqa: F403
from zoo_keras.ops.indexing import slice_ as slice
from zoo_keras.ops.namespaces import NAMES, namespace
from zoo_keras.ops.neural import *  # noqa: F403
from zoo_keras.ops.products import *  # noqa: F403
from zoo_keras.ops.rearranging import *  # noqa: F403
from zoo_keras.ops.reduction import *  # noqa: F403
from zoo_keras.ops.shaping import *  # noqa: F403
from zoo_keras.ops.signals import *  # noqa: F403
from zoo_keras.ops.sorting import *  # noqa: F403
from zoo_keras.ops.special import *  # noqa: F403
from zoo_keras.primitives.rounding import round_bfloat16

operators.update(
    {
        "add": elementwise.add, "sub": elementwise.subtract, "mul": elementwise.multiply,
        "truediv": elementwise.divide, "floordiv": elementwise.floor_divide, "mod": elementwise.mod,
        "pow": elementwise.power, "matmul": products.matmul, "lt": elementwise.less,
        "le": elementwise.less_equal, "gt": elementwise.greater, "ge": elementwise.greater_equal,
        "eq": elementwise.equal, "ne": elementwise.not_equal, "and": elementwise.logical_and,
        "or": elementwise.logical_or, "xor": elementwise.logical_xor, "neg": elementwise.negative,
        "round_bfloat16": round_bfloat16,
        "abs": elementwise.absolute, "round": elementwise.round, "invert": elementwise.logical_not,
        "getitem": indexing.get_item, "stop_gradient": core.stop_gradient,
    }
)  # fmt: skip

__all__ = [
    *core.__all__, *creation.__all__, *elementwise.__all__, *special.__all__,
    *reduction.__all__, *shaping.__all__, *indexing.__all__, *sorting.__all__,
    *products.__all__, *signals.__all__, *neural.__all__, *convolution.__all__,
    *control.__all__, *ctc.__all__, *complexes.__all__, *differentiation.__all__,
    *rearranging.__all__, "slice",
]  # fmt: skip

nn, numpy, linalg = (
    namespace(name, {each: globals()[each] for each in names}) for name, names in NAMES.items()
)
image = namespace(
    "image", {n: getattr(m, n) for m in (images, pixels, resampling) for n in m.__all__}
)


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.ops", name)
