"""Files that real Keras 1 writes, with what they must predict, before and after one more step.

Keras 1 needs an old Python and one of its two backends, so this script stands alone:

    python3.6 -m venv v36
    v36/bin/pip install keras==1.2.2 theano==1.0.5 tensorflow==1.4.1 h5py==2.10 numpy==1.16.6
    KERAS_BACKEND=theano v36/bin/python tests/golden/make_keras1.py
    KERAS_BACKEND=tensorflow v36/bin/python tests/golden/make_keras1.py

Each model goes to `data/keras1/<backend>_<name>.h5`; its arrays to `<backend>.npz` under keys such
as `<name>/x0`; `<backend>.json` holds to_json and to_yaml of some. With Keras 1.0 or 1.1 first on
the path the names have that version, and models that it does not know are left out.
"""

import json
import os
import sys
import warnings
import zlib

import numpy as np

warnings.simplefilter("ignore")

import keras  # noqa: E402
from keras import backend as K  # noqa: E402
from keras import layers as kl  # noqa: E402
from keras.models import Model, Sequential  # noqa: E402

if os.environ.get("KERAS_BACKEND") == "theano":
    import theano.ifelse  # noqa: F401 - Keras 1 forgets to

OLD = keras.__version__[:3] != "1.2"
NAME = K.backend() if hasattr(K, "backend") else K._BACKEND
PREFIX = NAME + ("_" + keras.__version__.replace(".", "") if OLD else "")
FILES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "keras1")


def mlp():
    model = Sequential(name="mlp")
    model.add(
        kl.Dense(
            5,
            input_dim=4,
            init="he_normal",
            activation="tanh",
            W_regularizer="l2",
            b_constraint="maxnorm",
            activity_regularizer="activity_l2",
        )
    )
    model.add(kl.BatchNormalization(epsilon=1e-2, momentum=0.9))
    model.add(kl.Dropout(0.0))
    model.add(kl.Activation("hard_sigmoid"))
    model.add(kl.Dense(3, bias=False, W_constraint="nonneg"))
    model.add(kl.Activation("softmax"))
    return model, "categorical_crossentropy", keras.optimizers.SGD(0.1, momentum=0.5, decay=0.1)


def lenet(order):
    shape = (2, 9, 8) if order == "th" else (9, 8, 2)
    model = Sequential(name="lenet")
    model.add(kl.Convolution2D(3, 3, 2, activation="relu", dim_ordering=order, input_shape=shape))
    model.add(kl.MaxPooling2D((2, 2), dim_ordering=order))
    model.add(kl.ZeroPadding2D((1, 1), dim_ordering=order))
    model.add(kl.Convolution2D(4, 3, 3, border_mode="same", bias=False, dim_ordering=order))
    model.add(kl.AveragePooling2D((2, 2), strides=(1, 1), dim_ordering=order))
    model.add(kl.BatchNormalization(axis=1 if order == "th" else 3))
    model.add(kl.Convolution2D(2, 2, 2, subsample=(2, 1), dim_ordering=order))
    model.add(kl.Flatten())
    model.add(kl.Dense(3))
    return model, "mse", "adam"


def lenet_th():
    return lenet("th")


def lenet_tf():
    return lenet("tf")


def steps_1d():
    model = Sequential(name="steps_1d")
    model.add(kl.ZeroPadding1D(2, input_shape=(9, 3)))
    model.add(kl.Convolution1D(4, 3, border_mode="same", activation="relu"))
    model.add(kl.MaxPooling1D(2))
    model.add(kl.Convolution1D(5, 2, subsample_length=2))
    model.add(kl.UpSampling1D(3))
    model.add(kl.AveragePooling1D(pool_length=2, stride=1))
    model.add(kl.GlobalMaxPooling1D())
    return model, "mse", "rmsprop"


def text(**kind):
    model = Sequential(name="text")
    model.add(kl.Embedding(11, 4, mask_zero=True, input_length=6))
    model.add(kl.LSTM(5, return_sequences=True, inner_activation="sigmoid", **kind))
    model.add(kl.GRU(4, return_sequences=True, **kind))
    model.add(kl.SimpleRNN(3, activation="relu"))
    model.add(kl.Dense(1, activation="sigmoid"))
    return model, "binary_crossentropy", "adagrad"


def text_cpu():
    return text(consume_less="cpu")


def text_gpu():
    return text(consume_less="gpu")


def wrapped():
    model = Sequential(name="wrapped")
    model.add(kl.Bidirectional(kl.LSTM(3, return_sequences=True), input_shape=(5, 2)))
    gru = kl.GRU(2, return_sequences=True, consume_less="gpu")
    model.add(kl.Bidirectional(gru, merge_mode="sum"))
    model.add(kl.TimeDistributed(kl.Dense(4, activation="relu")))
    model.add(kl.TimeDistributedDense(3))
    model.add(kl.Permute((2, 1)))
    model.add(kl.Reshape((5, 3)))
    model.add(kl.Flatten())
    model.add(kl.RepeatVector(4))
    model.add(kl.SimpleRNN(3, go_backwards=True, activation="relu"))
    return model, "mse", "adadelta"


def merged(mode, **more):
    left, right = kl.Input((4,), name="left"), kl.Input((4,), name="right")
    a, b = kl.Dense(3, name="a")(left), kl.Dense(3, name="b")(right)
    joined = kl.merge([a, b], mode=mode, name="joined", **more)
    return Model([left, right], joined, name="merged"), "mse", "sgd"


def merge_sum():
    return merged("sum")


def merge_mul():
    return merged("mul")


def merge_ave():
    return merged("ave")


def merge_max():
    return merged("max")


def merge_concat():
    return merged("concat", concat_axis=1)


def merge_dot():
    return merged("dot", dot_axes=1)


def merge_cos():
    """Keras 1 is in two minds about the shape of cosines, so no target fits."""
    return merged("cos", dot_axes=-1)[0], None, None


def merge_steps():
    start = kl.Input((4, 3), name="start")
    score = kl.merge([start, kl.Dense(3)(start)], mode="dot", dot_axes=[2, 2])
    mixed = kl.merge([score, start], mode="dot", dot_axes=[1, 1])
    return Model(start, kl.merge([mixed, start], mode="concat", concat_axis=-1)), "mse", "sgd"


def towers():
    """Merge in the list of a Sequential, whose inputs are those of the merged ones."""
    left, right = Sequential(name="left"), Sequential(name="right")
    left.add(kl.Dense(3, input_dim=4, activation="tanh"))
    left.add(kl.BatchNormalization())
    right.add(kl.Dense(2, input_dim=5))
    model = Sequential(name="towers")
    model.add(kl.Merge([left, right], mode="concat", concat_axis=-1))
    model.add(kl.Dense(2))
    return model, "mse", "adam"


def tall_towers():
    ends = [Sequential(), Sequential(), Sequential()]
    for end in ends:
        end.add(kl.Dense(3, input_shape=(4,)))
    pair = Sequential()
    pair.add(kl.Merge(ends[:2], mode="sum"))
    pair.add(kl.Dense(3, activation="relu"))
    model = Sequential()
    model.add(kl.Merge([pair, ends[2]], mode="mul"))
    model.add(kl.Dense(1))
    return model, "mse", "adamax"


def nested():
    block = Sequential(name="block")
    block.add(kl.Dense(4, input_dim=4))
    block.add(kl.BatchNormalization())
    block.add(kl.Dense(4, activation="relu"))
    inner_in = kl.Input((4,))
    inner = Model(inner_in, kl.Dense(4)(inner_in), name="inner")
    first, second = kl.Input((4,), name="first"), kl.Input((4,), name="second")
    both = kl.merge([block(first), block(second)], mode="sum")
    joined = kl.merge([inner(both), both], mode="concat")
    outs = [kl.Dense(2, name="one")(joined), kl.Dense(1, name="two")(joined)]
    return Model([first, second], outs), {"one": "mse", "two": "mae"}, "nadam"


def stacked():
    block = Sequential(name="block")
    block.add(kl.Dense(4, input_dim=3))
    block.add(kl.Dense(3, activation="tanh"))
    model = Sequential()
    model.add(block)
    model.add(kl.Dense(2))
    return model, "mse", "sgd"


def spatial(order):
    shape = (3, 8, 8) if order == "th" else (8, 8, 3)
    start = kl.Input(shape)
    x = kl.AtrousConvolution2D(4, 3, 3, atrous_rate=(2, 2), dim_ordering=order)(start)
    x = kl.UpSampling2D((2, 2), dim_ordering=order)(x)
    size = (None, 2, 10, 10) if order == "th" else (None, 10, 10, 2)
    x = kl.Deconvolution2D(2, 3, 3, size, dim_ordering=order)(x)
    x = kl.Cropping2D(((1, 2), (0, 1)), dim_ordering=order)(x)
    x = kl.SpatialDropout2D(0.0, dim_ordering=order)(x)
    x = kl.Convolution2D(3, 1, 1, dim_ordering=order)(x)
    x = kl.GlobalAveragePooling2D(dim_ordering=order)(x)
    return Model(start, x), "mse", "sgd"


def spatial_th():
    return spatial("th")


def spatial_tf():
    return spatial("tf")


def separable():
    model = Sequential()
    model.add(
        kl.SeparableConvolution2D(
            4, 3, 3, depth_multiplier=2, dim_ordering="tf", input_shape=(6, 6, 3)
        )
    )
    model.add(kl.GlobalMaxPooling2D(dim_ordering="tf"))
    return model, "mse", "sgd"


def volumes(order):
    shape = (2, 5, 6, 4) if order == "th" else (5, 6, 4, 2)
    model = Sequential()
    model.add(kl.Convolution3D(3, 2, 3, 2, dim_ordering=order, input_shape=shape))
    model.add(kl.MaxPooling3D((2, 2, 1), dim_ordering=order))
    model.add(kl.ZeroPadding3D((1, 0, 1), dim_ordering=order))
    model.add(kl.UpSampling3D((1, 2, 1), dim_ordering=order))
    model.add(kl.Flatten())
    return model, "mse", "sgd"


def volumes_th():
    return volumes("th")


def volumes_tf():
    return volumes("tf")


def units():
    model = Sequential()
    model.add(kl.Masking(0.5, input_shape=(3, 4)))
    for layer in (
        kl.LeakyReLU(0.2),
        kl.PReLU(),
        kl.ELU(0.5),
        kl.ParametricSoftplus(0.3, 4.0),
        kl.ThresholdedReLU(0.1),
        kl.SReLU(),
        kl.GaussianNoise(0.0),
        kl.GaussianDropout(0.0),
        kl.ActivityRegularization(l1=0.01),
    ):
        model.add(layer)
    return model, "mse", "sgd"


def highway():
    model = Sequential()
    model.add(kl.MaxoutDense(5, nb_feature=3, input_dim=4))
    model.add(kl.Highway(activation="tanh"))
    model.add(kl.Dense(2))
    return model, "mse", "adam"


def sample_norm():
    model = Sequential()
    model.add(kl.Dense(5, input_dim=4))
    model.add(kl.BatchNormalization(mode=1))
    return model, "mse", "sgd"


def batch_norm():
    model = Sequential()
    model.add(kl.Dense(5, input_dim=4))
    model.add(kl.BatchNormalization(mode=2))
    return model, "mse", "sgd"


def conv_lstm(order):
    shape = (3, 2, 5, 5) if order == "th" else (3, 5, 5, 2)
    model = Sequential()
    model.add(kl.ConvLSTM2D(3, 3, 3, border_mode="same", dim_ordering=order, input_shape=shape))
    return model, "mse", "sgd"


def conv_lstm_th():
    return conv_lstm("th")


def conv_lstm_tf():
    return conv_lstm("tf")


def lambdas():
    start = kl.Input((4,))
    doubled = kl.Lambda(lambda x: x * 2.0, name="double")(start)
    other = kl.Dense(4)(doubled)
    joined = kl.merge(
        [doubled, other], mode=lambda xs: xs[0] - xs[1], output_shape=(4,), name="less"
    )
    return Model(start, joined), "mse", "sgd"


MODELS = [mlp, lenet_th, lenet_tf, steps_1d, text_cpu, text_gpu, wrapped, merge_sum, merge_mul,
          merge_ave, merge_max, merge_concat, merge_dot, merge_cos, merge_steps, towers,
          tall_towers, nested, stacked, spatial_th, spatial_tf, separable, volumes_th, volumes_tf,
          units, highway, sample_norm, batch_norm, conv_lstm_th, conv_lstm_tf,
          lambdas]  # fmt: skip
EARLIER = ("mlp", "lenet_th", "lenet_tf", "steps_1d", "text_cpu", "towers", "nested",
           "merge_concat")  # fmt: skip


def rows(shape, rng, words):
    shape = (6,) + tuple(shape[1:])
    if words:
        return rng.randint(0, 11, shape).astype("int32")
    return rng.uniform(-1, 1, shape).astype("float32")


def drawn(weight, name, rng):
    if "running_std" in name:
        return rng.uniform(0.5, 1.5, weight.shape)
    return rng.normal(0, 0.4, weight.shape)


def as_list(value):
    return list(value) if isinstance(value, list) else [value]


def one(items):
    return items[0] if len(items) == 1 else items


def made(make, arrays, texts):
    name = make.__name__
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    model, loss, optimizer = make()
    for weight in model.weights:
        K.set_value(weight, drawn(K.get_value(weight), str(weight.name), rng))
    x = [
        rows(K.int_shape(t) if hasattr(K, "int_shape") else t._keras_shape, rng, "text" in name)
        for t in model.inputs
    ]
    y = [np.abs(rng.uniform(0.1, 0.9, np.shape(p))) for p in as_list(model.predict(one(x)))]
    if loss:
        model.compile(optimizer, loss)
        model.train_on_batch(one(x), one(y))
    model.save(os.path.join(FILES, PREFIX + "_" + name + ".h5"))
    if name in ("mlp", "lenet_th", "text_cpu", "towers"):
        model.save_weights(os.path.join(FILES, PREFIX + "_" + name + "_weights.h5"), overwrite=True)
    if name in ("mlp", "text_gpu", "nested", "towers"):
        texts[name] = model.to_json(), model.to_yaml()
    found = [("x", x), ("y", y), ("predicted", as_list(model.predict(one(x))))]
    if loss:
        model.train_on_batch(one(x), one(y))
        found.append(("continued", as_list(model.predict(one(x)))))
    for key, items in found:
        for i, item in enumerate(items):
            kept = np.asarray(item, None if key == "x" else "float32")
            arrays["/".join([name, key + str(i)])] = kept


def main():
    chosen = [m for m in MODELS if not sys.argv[1:] or m.__name__ in sys.argv[1:]]
    arrays, texts = {}, {}
    for make in chosen:
        if OLD and make.__name__ not in EARLIER:
            continue
        if make is separable and NAME == "theano":
            continue
        if hasattr(K, "set_image_dim_ordering"):
            K.set_image_dim_ordering("th" if make.__name__.endswith("_th") else "tf")
        made(make, arrays, texts)
        print(make.__name__, flush=True)
    np.savez_compressed(os.path.join(FILES, PREFIX + ".npz"), **arrays)
    if texts:
        with open(os.path.join(FILES, PREFIX + ".json"), "w") as file:
            json.dump(texts, file, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
