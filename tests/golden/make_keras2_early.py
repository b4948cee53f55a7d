"""Files that Keras 2.0 to 2.3 wrote, before tf.keras, with what they must predict and train to.

Needs the Python of make_keras1.py; each version of Keras comes first on the path:

    PYTHONPATH=keras-2.0.9 v36/bin/python tests/golden/make_keras2_early.py

Files are `data/keras2_early/<version>_<name>.h5`, arrays `<version>.npz` as in make_keras1.py.
"""

import os
import warnings
import zlib

import numpy as np

warnings.simplefilter("ignore")

import keras  # noqa: E402
from keras import backend as K  # noqa: E402
from keras import layers as kl  # noqa: E402
from keras.models import Model, Sequential  # noqa: E402

FILES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "keras2_early")
VERSION = keras.__version__.replace(".", "")


def words():
    model = Sequential(name="words")
    model.add(kl.Embedding(11, 4, mask_zero=True, input_length=6))
    model.add(kl.Bidirectional(kl.LSTM(3, return_sequences=True)))
    model.add(kl.GRU(4, return_sequences=True))
    model.add(kl.TimeDistributed(kl.Dense(3, activation="relu")))
    model.add(kl.SimpleRNN(3))
    model.add(kl.Dense(1, activation="sigmoid"))
    return model, "binary_crossentropy", keras.optimizers.Adam(0.01)


def images():
    start = kl.Input((8, 8, 3))
    x = kl.Conv2D(4, 3, padding="same", activation="relu", kernel_regularizer="l2")(start)
    x = kl.MaxPooling2D()(x)
    x = kl.SeparableConv2D(5, 2)(x)
    x = kl.Conv2DTranspose(3, 2, strides=2)(x)
    x = kl.LeakyReLU(0.2)(x)
    x = kl.concatenate([kl.Flatten()(x), kl.GlobalAveragePooling2D()(start)])
    return Model(start, kl.Dense(2)(x)), "mse", keras.optimizers.SGD(0.05, 0.9, decay=0.1)


def nested():
    block = Sequential(name="block")
    block.add(kl.Dense(4, activation="elu", input_shape=(4,)))
    block.add(kl.Dense(4, activation="hard_sigmoid"))
    first, second = kl.Input((4,), name="first"), kl.Input((4,), name="second")
    both = kl.add([block(first), block(second)])
    outs = [kl.Dense(2, name="one")(both), kl.Dense(1, name="two")(kl.multiply([both, first]))]
    return (
        Model([first, second], outs),
        {"one": "mse", "two": "mae"},
        keras.optimizers.RMSprop(0.01),
    )


def as_list(value):
    return list(value) if isinstance(value, list) else [value]


def one(items):
    return items[0] if len(items) == 1 else items


def made(make, arrays):
    name = make.__name__
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    model, loss, optimizer = make()
    model.set_weights([rng.normal(0, 0.4, w.shape) for w in model.get_weights()])
    shapes = [(6,) + K.int_shape(t)[1:] for t in model.inputs]
    x = [rng.randint(0, 11, s) if name == "words" else rng.uniform(-1, 1, s) for s in shapes]
    y = [rng.uniform(0.1, 0.9, np.shape(p)) for p in as_list(model.predict(one(x)))]
    model.compile(optimizer, loss)
    model.train_on_batch(one(x), one(y))
    model.save(os.path.join(FILES, VERSION + "_" + name + ".h5"))
    model.save_weights(os.path.join(FILES, VERSION + "_" + name + "_weights.h5"))
    found = [("x", x), ("y", y), ("predicted", as_list(model.predict(one(x))))]
    model.train_on_batch(one(x), one(y))
    found.append(("continued", as_list(model.predict(one(x)))))
    for key, items in found:
        for i, item in enumerate(items):
            arrays["/".join([name, key + str(i)])] = np.asarray(item, "float32")


def main():
    if not os.path.isdir(FILES):
        os.makedirs(FILES)
    arrays = {}
    for make in (words, images, nested):
        made(make, arrays)
        print(VERSION, make.__name__, flush=True)
    np.savez_compressed(os.path.join(FILES, VERSION + ".npz"), **arrays)


if __name__ == "__main__":
    main()
