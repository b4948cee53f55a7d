"""Whole models in files of every Keras, from 1.0.8 to 3: they open, predict the same, train on."""

from __future__ import annotations

import numpy as np
import pytest
from golden.compare import OUTPUT, STEP, assert_all_close
from golden.store import DATA, Golden, series

import zoo_keras as zk

KERAS_3 = ("files", "spatial_files", "recurrent_files")
KERAS_2 = ("keras2", "spatial_keras2", "recurrent_keras2")
ZOO = Golden("zoo")
# tf-keras in .keras: an archive of Keras 2.13, of the same nets as its .h5.
OF_ZOO = [f"{name}{suffix}" for name in ZOO.cases for suffix in (".h5", ".keras")]
OTHER_SCHEDULE = "keras2_attention"  # Nadam's, whose product of momenta tf-keras does not keep
# What Keras 1 marshals into the file has to be given by name: the layer's.
FUNCTIONS = {"double": lambda x: x * 2.0, "less": lambda xs: xs[0] - xs[1]}


def of_areas(areas, folder, suffixes):
    """File -> the arrays of its case."""
    return {
        f"{folder}/{name}{suffix}": golden.arrays(name)
        for golden in map(Golden, areas)
        for name in golden.cases
        for suffix in suffixes
    }


def of_archives(folder):
    """The same for files whose arrays lie beside them, by the maker's name and the case's."""
    found = {}
    for path in sorted((DATA / folder).glob("*.npz")):
        with np.load(path) as stored:
            for key in stored.files:
                case, _, name = key.partition("/")
                found.setdefault(f"{folder}/{path.stem}_{case}.h5", {})[name] = stored[key]
    return found


FILES = {
    **of_archives("keras1"),
    **of_archives("keras2_early"),
    **of_areas(KERAS_2, "keras2", [".h5"]),
    **of_areas(KERAS_3, "files", [".h5", ".keras"]),
    **of_areas(["zoo"], "zoo", [".h5", ".keras"]),
}


def as_list(value):
    return value if isinstance(value, list) else [value]


def joined(items):
    return items[0] if len(items) == 1 else list(items)


def nets(*folders):
    """The architectures in these folders, each counted once whatever files it is in."""
    return {f.rpartition(".")[0] for f in FILES if f.split("/")[0] in folders}


def assert_predicts(model, arrays, key="predicted", tolerance=OUTPUT):
    got = as_list(model.predict_on_batch(joined(series(arrays, "x"))))
    assert_all_close(got, series(arrays, key), tolerance, range(len(got)))


def test_the_zoo_has_every_keras_and_many_nets():
    assert len(nets("keras1")) >= 30
    assert len(nets("keras2_early", "keras2")) >= 17
    of_both = {name.partition("_")[2] for name in ZOO.cases}
    assert len(of_both) == 20 and len(ZOO.cases) == 40
    assert len(nets(*{f.split("/")[0] for f in FILES})) >= 90


@pytest.mark.filterwarnings("ignore:.*starts afresh")  # of Nadam, and Theano's
@pytest.mark.parametrize("file", FILES)
def test_a_file_opens_and_predicts_the_same(file):
    model = zk.saving.load_model(DATA / file, custom_objects=FUNCTIONS)
    assert_predicts(model, FILES[file])


@pytest.mark.parametrize("file", [f for f in OF_ZOO if not f.startswith(OTHER_SCHEDULE)])
def test_a_file_trains_on_with_its_optimizer(file):
    model, arrays = zk.saving.load_model(DATA / "zoo" / file), ZOO.arrays(file.partition(".")[0])
    model.train_on_batch(joined(series(arrays, "x")), arrays["y0"])
    of_keras_2 = 5 * STEP if file.startswith("keras2") else STEP  # moving variances by n - 1
    assert_predicts(model, arrays, "continued", of_keras_2)
