"""The public ops: `zoo_keras.ops` has the names, arguments and results of `keras.ops`.

They work on tensors of a model being traced, on the KerasTensors a model is built from, on
Variables, and on arrays (then they compute at once). Importing this module declares every
primitive op, so the registry is complete, and gives tensors Python's operators.
"""

from __future__ import annotations

from typing import Any

from zoo_keras.graph import operators
from zoo_keras.missing import missing

# isort: off
from zoo_keras.ops import attention as _attention, group_norm as _group_norm  # noqa: F401
from zoo_keras.ops import images as _images, lookup, text  # noqa: F401
from zoo_keras.ops import bitwise, chain, conv_fused, host, host_linalg, index  # noqa: F401
from zoo_keras.ops import int8, linalg as _linalg, loop, math, narrow, nn as _nn  # noqa: F401
from zoo_keras.ops import pool, random_ops, reduce, rnn, rnn_gru, rows  # noqa: F401
from zoo_keras.ops import smooth, special, update  # noqa: F401
from zoo_keras.ops import conv as _conv, norm as _norm, scan as _scan, shape as _shape  # noqa: F401

# Only now the public names: conv, norm, scan and shape become functions, and were modules above.
from zoo_keras.ops import api_control, api_conv, api_core, api_create, api_index, api_linalg
from zoo_keras.ops import api_image, api_math, api_nn, api_reduce, api_shape, api_sort, api_special
from zoo_keras.ops.api_core import *  # noqa: F403
from zoo_keras.ops.api_create import *  # noqa: F403
from zoo_keras.ops.api_math import *  # noqa: F403
from zoo_keras.ops.api_special import *  # noqa: F403
from zoo_keras.ops.api_reduce import *  # noqa: F403
from zoo_keras.ops.api_shape import *  # noqa: F403
from zoo_keras.ops.api_index import *  # noqa: F403
from zoo_keras.ops.api_sort import *  # noqa: F403
from zoo_keras.ops.api_linalg import *  # noqa: F403
from zoo_keras.ops.api_nn import *  # noqa: F403
from zoo_keras.ops.api_conv import *  # noqa: F403
from zoo_keras.ops.api_control import *  # noqa: F403
from zoo_keras.ops.api_index import slice_ as slice
from zoo_keras.ops.namespaces import NAMES, namespace
# isort: on

operators.update(
    {
        "add": api_math.add, "sub": api_math.subtract, "mul": api_math.multiply,
        "truediv": api_math.divide, "floordiv": api_math.floor_divide, "mod": api_math.mod,
        "pow": api_math.power, "matmul": api_linalg.matmul, "lt": api_math.less,
        "le": api_math.less_equal, "gt": api_math.greater, "ge": api_math.greater_equal,
        "eq": api_math.equal, "ne": api_math.not_equal, "and": api_math.logical_and,
        "or": api_math.logical_or, "xor": api_math.logical_xor, "neg": api_math.negative,
        "round_bfloat16": narrow.round_bfloat16,
        "abs": api_math.absolute, "invert": api_math.logical_not, "getitem": api_index.get_item,
    }
)  # fmt: skip

__all__ = [
    *api_core.__all__, *api_create.__all__, *api_math.__all__, *api_special.__all__,
    *api_reduce.__all__, *api_shape.__all__, *api_index.__all__, *api_sort.__all__,
    *api_linalg.__all__, *api_nn.__all__, *api_conv.__all__, *api_control.__all__, "slice",
]  # fmt: skip

# Last: until here, nn and linalg were modules of primitives.
nn, numpy, linalg = (
    namespace(name, {each: globals()[each] for each in names}) for name, names in NAMES.items()
)
image = namespace("image", {name: getattr(api_image, name) for name in api_image.__all__})


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.ops", name)
