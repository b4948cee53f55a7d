"""What a public module says when a name is asked for that zoo_keras does not have.

In: the module's and the missing name. Out: the error for the module's `__getattr__` to raise, which
says whether Keras has the name and why we don't. The names of Keras are in keras_names.txt
(docs/names_of_keras.py makes it), read when the first name is missing.
"""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

from zoo_keras.errors import UnsupportedError

_OTHERS = "it wraps another framework, which zoo_keras does without"
_RANDOM_SIZE = "images of a random size have no fixed shape; use RandomZoom"
_SESSIONS = "nothing is run in sessions; leave the line out"
_QUEUES = "fit takes generators and PyDatasets as they are"
_SPARK = "Spark distributes: model.fit(rdd) or model.fit(dataframe)"
_KERNELS = "int8 is the one form of quantised weights that has kernels here"
# The beginning of a name, keras left out -> why it is refused. docs/compatibility.md shows them.
REFUSED = {
    "backend.ctc_label_dense_to_sparse": "there are no sparse tensors; ctc_batch_cost takes dense",
    "backend.get_session": _SESSIONS,
    "backend.set_session": _SESSIONS,
    "callbacks.OrbaxCheckpoint": "it writes JAX's own files; use ModelCheckpoint",
    "config.is_nnx_enabled": "it speaks of JAX",
    "config.set_backend": "there is one backend, the engine of zoo_keras",
    "distribution": _SPARK,
    "dtype_policies.AWQ": _KERNELS,
    "dtype_policies.GPTQ": _KERNELS,
    "dtype_policies.Int4": _KERNELS,
    "dtype_policies.QuantizedFloat8": _KERNELS,
    "export": "models are scored on Spark or saved as .keras; other formats are not written",
    "layers.FlaxLayer": _OTHERS,
    "layers.JaxLayer": _OTHERS,
    "layers.RandomHeight": _RANDOM_SIZE,
    "layers.RandomWidth": _RANDOM_SIZE,
    "layers.SyncBatchNormalization": "BatchNormalization takes synchronized=True",
    "layers.convolutional.Atrous": "Conv1D and Conv2D have a dilation_rate",
    "layers.convolutional_recurrent": "ConvLSTM2D makes its cell; for another, use RNN",
    "layers.TFSMLayer": _OTHERS,
    "layers.TorchModuleWrapper": _OTHERS,
    "quantizers.AWQ": _KERNELS,
    "quantizers.Float8": _KERNELS,
    "quantizers.GPTQ": _KERNELS,
    "quantizers.Int4": _KERNELS,
    "quantizers.abs_max_quantize_grouped": _KERNELS,
    "quantizers.compute_float8": _KERNELS,
    "quantizers.pack_int4": _KERNELS,
    "quantizers.unpack_int4": _KERNELS,
    "utils.GeneratorEnqueuer": _QUEUES,
    "utils.HDF5Matrix": "fit takes data sets of h5py as they are",
    "utils.OrderedEnqueuer": _QUEUES,
    "utils.SequenceEnqueuer": _QUEUES,
    "utils.multi_gpu_model": _SPARK,
}


class MissingNameError(UnsupportedError, AttributeError):
    """An attribute that a public module does not have; hasattr() is False for it."""


@functools.cache
def keras_names() -> dict[str, dict[str, list[str]]]:
    """Public names by module path without `keras`, of Keras "3", and of "2" what 3 dropped."""
    found: dict[str, dict[str, list[str]]] = {"3": {}, "2": {}}
    for line in Path(__file__).with_name("keras_names.txt").read_text().splitlines():
        version, module, *names = line.split()
        found[version][module.partition(".")[2]] = names
    return found


def reason(path: str) -> str | None:
    """Why a name of Keras, such as "layers.JaxLayer", is refused; None: it is not made yet."""
    return next((why for start, why in REFUSED.items() if path.startswith(start)), None)


def warn_older(where: str, older: str, today: str) -> None:
    """Say that an argument or method of Keras 1 or 2 has another name today."""
    warnings.warn(f"{where}: {older} is of Keras 1 or 2. Use {today}.", stacklevel=4)


def missing(module: str, name: str) -> AttributeError:
    """The error for `module.name`; a plain AttributeError for Python's own dunder names."""
    if name.startswith("__"):
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    below = module.partition(".")[2]
    path = f"{below}.{name}" if below else name
    having = [v for v, table in keras_names().items() if name in table.get(below, ())]
    if not having:
        why = reason(path)
        fact = f"which older Kerases had: {why}" if why else "and Keras 3 has no such name either"
    else:
        fact = f"which Keras {having[0]} has: {reason(path) or 'it is not supported'}"
    return MissingNameError(
        f"{module} has no {name!r}, {fact}. Received: {module}.{name}. "
        f"Use one of the names in {module}.__all__."
    )
