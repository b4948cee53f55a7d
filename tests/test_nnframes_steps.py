"""Steps of nnframes as plain data and as layers, its triggers, and its Torch-style names."""

# ruff: noqa: F403, F405 - as programs of Analytics Zoo import them

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import layers, nnframes
from zoo_keras.errors import ConfigError, DataError, ShapeError, UnsupportedError
from zoo_keras.nnframes import *
from zoo_keras.nnframes.front import joined, wants_size
from zoo_keras.nnframes.preprocessing import STEPS, step_of
from zoo_keras.nnframes.triggers import Progress
from zoo_keras.primitives.images import as_file, scale_images

RNG = np.random.default_rng(5)
IMAGE = RNG.integers(0, 256, (10, 8, 3)).astype(np.uint8)  # red, green, blue

EXAMPLES = [
    ChainedPreprocessing([RowToImageFeature(), ImageResize(4, 4), ImageMatToTensor(True)]),
    FeatureLabelPreprocessing(SeqToTensor([2, 3]), ScalarToTensor()),
    SeqToMultipleTensors([[2], [4]]),
    ScalarToTensor(),
    ArrayToTensor([3]), MLlibVectorToTensor([3]), TensorToSample(), ToTuple(), SeqToTensor(),
    ImageBytesToMat(), ImageFeatureToTensor(), ImageSetToSample(),
    ImageCenterCrop(3, 5), ImageRandomCrop(3, 5), ImageHFlip(), ImageMirror(),
    ImageBrightness(-9, 9.5), ImageHue(-3, 3), ImageSaturation(0.5, 2), ImageContrast(0.5, 2),
    ImageChannelOrder(), ImageColorJitter(hue_prob=1.0), ImageExpand(max_expand_ratio=2),
    ImageAspectScale(6, 2, 12), ImageChannelNormalize(1, 2, 3, 4, 5, 6),
    ImageRandomPreprocessing(ImageHFlip(), 0.5), PerImageNormalize(0, 1),
    ImageFixedCrop(0.1, 0.2, 0.5, 0.9), ImageFiller(0.1, 0.2, 0.5, 0.9, 7),
]  # fmt: skip


def test_every_step_is_plain_data():
    known = {type(step).__name__ for e in EXAMPLES for step in (e, *e.steps)}
    assert known == {name for name in STEPS if name in nnframes.__all__} - {"Preprocessing"}
    for step in EXAMPLES:
        there = step_of(json.loads(json.dumps(step.get_config())))
        assert repr(there) == repr(step), step
        for other in (copy.deepcopy(step), pickle.loads(pickle.dumps(step))):
            assert repr(other) == repr(step) and other is not step
    with pytest.raises(ConfigError, match=r"unknown step. Received: .*os\.system"):
        step_of({"name": "os.system", "arguments": {}})


def filled(image, value):
    found = image.copy()
    found[5:, 2:6] = value
    return found


def on_image(step):
    return np.asarray(step(IMAGE[None]))[0]


@pytest.mark.parametrize(
    ("step", "want"),
    [
        (ImageCenterCrop(4, 6), IMAGE[2:8, 2:6]),
        (ImageFixedCrop(0.25, 0.5, 0.75, 1), IMAGE[5:, 2:6]),
        (ImageFixedCrop(1, 2, 30, 6, normalized=False), IMAGE[2:6, 1:]),
        (ImageFiller(0.25, 0.5, 0.75, 1, 9), filled(IMAGE, 9)),
        (PerImageNormalize(-1, 1), 2.0 * (IMAGE - IMAGE.min() * 1.0) / np.ptp(IMAGE) - 1),
        (ImageHFlip(), IMAGE[:, ::-1]),
        (ImageMirror(), IMAGE[::-1, ::-1]),
        (ImageMatToTensor(), IMAGE[..., ::-1]),
        (ImageMatToTensor(to_RGB=True, format="NCHW"), IMAGE.transpose(2, 0, 1)),
        (ImageChannelNormalize(1, 2, 3, 4, 5, 8), (IMAGE - [1.0, 2, 3]) / [4, 5, 8]),
        (ImageBrightness(30, 30), np.clip(IMAGE + 30.0, 0, 255)),
        (ImageContrast(1.5, 1.5), np.clip(IMAGE * 1.5, 0, 255)),
        (ImageHue(180, 180), IMAGE),  # once around
        (ImageSaturation(1, 1), IMAGE),
        (ImageSaturation(0, 0), IMAGE.max(axis=2, keepdims=True).repeat(3, axis=2)),
        (ImageExpand(max_expand_ratio=1), IMAGE),
        (ImageRandomPreprocessing(ImageHFlip(), 1.0), IMAGE[:, ::-1]),
        (ImageRandomPreprocessing(ImageHFlip(), 0.0), IMAGE),
        (ImageColorJitter(0, 32, 0, 0.5, 1.5, 0, 18, 0), IMAGE),
    ],
)
def test_what_a_step_does_to_an_image(step, want):
    np.testing.assert_allclose(on_image(step), want, rtol=1e-4, atol=2e-3)


def test_an_image_of_one_value_is_stretched_to_the_lower_end():
    made = PerImageNormalize(3, 4)(np.full((2, 4, 4, 3), 7, np.uint8))
    np.testing.assert_array_equal(made, np.full((2, 4, 4, 3), 3.0))


def test_a_box_is_cut_from_images_of_one_size():
    box, end = ImageFixedCrop(0, 0, 0.5, 1), ImageMatToTensor(to_RGB=True)
    chain = ChainedPreprocessing([RowToImageFeature(), ImageResize(6, 6), box, end])
    whole = joined(flat((6, 3, 3)), chain, False)
    found = whole.predict(files(IMAGE, IMAGE[2:]), verbose=0)
    for image, row in zip((IMAGE, IMAGE[2:]), found, strict=True):
        want = np.asarray(layers.Resizing(6, 6)(image[None]))[0, :, :3]
        np.testing.assert_allclose(row, want.ravel(), atol=1)
    open_net = keras.Sequential([keras.Input((None, None, 3)), layers.GlobalAveragePooling2D()])
    for step in (box, ImageFiller(0, 0, 1, 1)):
        with pytest.raises(ShapeError, match=r"must be of one size. Received: several. Resize"):
            joined(open_net, ChainedPreprocessing([RowToImageFeature(), step, end]), False)
    outside = ImageFixedCrop(20, 20, 30, 30, normalized=False)
    with pytest.raises(ShapeError, match=r"box must lie in the images. Received: .* of 10 x 8"):
        outside(IMAGE[None])


def test_hue_has_180_steps():
    red = np.zeros((1, 2, 2, 3), np.uint8)
    red[..., 0] = 200
    np.testing.assert_allclose(np.asarray(ImageHue(60, 60)(red))[0, 0, 0], [0, 200, 0], atol=0.01)


def test_an_expanded_image_lies_in_a_field_of_one_colour():
    white = np.full((8, 40, 40, 3), 255, np.uint8)
    made = np.asarray(ImageExpand(10, 20, 30, 2.0, 2.0)(white))
    whole = (made > 250).all(axis=3)
    field = np.isclose(made, [10, 20, 30]).all(axis=3)
    assert (abs(whole.mean(axis=(1, 2)) - 0.25) < 0.05).all()
    assert (whole.mean(axis=(1, 2)) + field.mean(axis=(1, 2)) > 0.9).all()
    assert len({tuple(np.argwhere(w)[0]) for w in whole}) > 1  # each somewhere else


def test_sides_are_scaled_in_their_proportions():
    (made,) = scale_images.reference(_column(IMAGE), how=(4, 1, 100))
    assert made.shape == (5, 4, 3) and made.dtype == np.uint8
    (made,) = scale_images.reference(_column(IMAGE), how=(16, 4, 18))
    assert made.shape == (16, 12, 3)  # 18 at most, multiples of 4
    np.testing.assert_array_equal(on_image(ImageAspectScale(4)).shape, (5, 4, 3))


def _column(*images):
    made = np.empty(len(images), object)
    made[:] = images
    return made


# ---- a chain in front of a net -------------------------------------------------------------------


def files(*images):
    """As Spark's images come: blue, green, red."""
    return _column(*[as_file(*i.shape, i[..., ::-1].tobytes()) for i in images])


def flat(shape):
    return keras.Sequential([keras.Input(shape), layers.Flatten()])


CHAIN = [RowToImageFeature(), ImageResize(7, 7), ImageCenterCrop(5, 5)]


@pytest.mark.parametrize(
    ("shape", "tensor", "want"),
    [
        ((5, 5, 3), ImageMatToTensor(), lambda x: x[..., ::-1]),
        ((5, 5, 3), ImageMatToTensor(to_RGB=True), lambda x: x),
        ((3, 5, 5), ImageMatToTensor(), lambda x: x[..., ::-1].transpose(2, 0, 1)),
    ],
)
def test_a_chain_leads_to_what_the_input_wants(shape, tensor, want):
    other = RNG.integers(0, 256, (7, 12, 3)).astype(np.uint8)
    chain = ChainedPreprocessing([*CHAIN, tensor, ImageFeatureToTensor()])
    whole = joined(flat(shape), chain, training=False)
    found = whole.predict(files(IMAGE, other), verbose=0)
    for row, image in zip(found, (IMAGE, other), strict=True):
        resized = np.asarray(layers.Resizing(7, 7)(image[None]))[0, 1:6, 1:6]
        np.testing.assert_allclose(row, want(resized.astype(float)).ravel(), atol=1)


def test_a_step_that_draws_wants_images_of_one_size():
    crop = [RowToImageFeature(), ImageRandomCrop(4, 4), ImageMatToTensor()]
    assert wants_size(ChainedPreprocessing(crop))
    assert not wants_size(ChainedPreprocessing([*CHAIN, ImageBrightness(0, 9), crop[-1]]))
    assert not wants_size(SeqToTensor([2]))
    whole = joined(flat((4, 4, 3)), ChainedPreprocessing(crop), True, (10, 8))
    stored = IMAGE[..., ::-1]
    drawn = {
        bytes(np.asarray(whole(stored[None], training=True)).astype(np.uint8)) for _ in "12345"
    }
    assert len(drawn) > 1
    middle = joined(flat((4, 4, 3)), ChainedPreprocessing(crop), False)
    np.testing.assert_array_equal(
        middle.predict(files(IMAGE), verbose=0)[0], stored[3:7, 2:6].ravel()
    )


def test_images_that_no_step_sizes_have_the_size_of_the_input():
    chain = ChainedPreprocessing([RowToImageFeature(), ImageHFlip(), ImageMatToTensor()])
    whole = joined(flat((10, 8, 3)), chain, False)
    assert whole.input_shape == (None, 10, 8, 3) and whole.inputs[0].dtype == "uint8"
    stored = IMAGE[..., ::-1]
    np.testing.assert_array_equal(
        whole.predict(stored[None], verbose=0)[0], stored[:, ::-1].ravel()
    )


def test_a_vector_is_cut_into_several_inputs():
    a, b = keras.Input((2,)), keras.Input((2, 2))
    net = keras.Model([a, b], [layers.Flatten()(b), a])
    whole = joined(net, SeqToMultipleTensors([[2], [2, 2]]), True)
    found = whole.predict(np.arange(6.0)[None], verbose=0)
    assert [f.tolist() for f in found] == [[[2, 3, 4, 5]], [[0, 1]]]


NOT_LEADING = [
    ((2,), SeqToTensor([3]), ShapeError, r"SeqToTensor\(size=\[3\]\) does not fit .*\(2,\)"),
    ((2,), SeqToMultipleTensors([[1], [1]]), ShapeError, "does not fit Model"),
    ((2,), ChainedPreprocessing([*CHAIN, ImageMatToTensor()]), ShapeError, "one input of images"),
    ((4, 4, 3), ChainedPreprocessing(CHAIN), ConfigError, "one ImageMatToTensor"),
    ((4, 4, 3), ChainedPreprocessing([ImageResize(4, 4)]), ConfigError, "begins with RowToImage"),
    ((5, 5, 7), ChainedPreprocessing([*CHAIN, ImageMatToTensor()]), ShapeError, "1, 3 or 4 chan"),
]


@pytest.mark.parametrize(("shape", "step", "kind", "message"), NOT_LEADING)
def test_steps_that_do_not_lead_to_the_input_are_named(shape, step, kind, message):
    with pytest.raises(kind, match=message):
        joined(flat(shape), step, False)


def test_a_net_whose_input_is_not_known_asks_for_a_size():
    with pytest.raises(ConfigError, match=r"no Input and no size.*SeqToTensor\(\[\.\.\.\]\)"):
        joined(keras.Sequential([layers.Dense(2)]), SeqToTensor(), False)
    whole = joined(keras.Sequential([layers.Dense(2)]), SeqToTensor([3]), False)
    assert whole.input_shape == (None, 3) and whole.layers[-1].output_shape == (None, 2)


WRONG = [
    (lambda: SeqToTensor([0]), ConfigError, r"sizes must be whole numbers above 0. Received: \[0"),
    (lambda: ChainedPreprocessing([3]), ConfigError, "takes steps. Received: 3 of type int"),
    (lambda: ImageResize(4, 4, 4), UnsupportedError, "resize_mode must be one of"),
    (lambda: ImageBrightness(3, 2), ConfigError, "must not be above"),
    (lambda: ImageSaturation(-1, 2), ConfigError, "nor below 0"),
    (lambda: ImageExpand(min_expand_ratio=0.5), ConfigError, "at least 1"),
    (lambda: ImageRandomPreprocessing(ImageResize(4, 4), 0.5), ConfigError, "leaves the size"),
    (lambda: ImageColorJitter(shuffle=True), UnsupportedError, "shuffle=True"),
    (lambda: ImageFixedCrop(0.5, 0, 0.2, 1), ConfigError, "left, top, right, bottom"),
    (lambda: ImageFiller(0, 0, 1, 2), ConfigError, "up to 1"),
    (lambda: ImageFiller(0, 0, 1, 1, 300), ConfigError, "from 0 to 255"),
    (lambda: PerImageNormalize(0, 1, 2), UnsupportedError, "must be 32"),
    (lambda: nnframes.ImagePixelNormalize, AttributeError, "takes the means away"),
    (lambda: ImageMatToTensor(format="HWC"), ConfigError, 'must be "NHWC" or "NCHW"'),
    (lambda: MaxEpoch(0), ConfigError, "MaxEpoch needs a whole number"),
    (lambda: TriggerOr(MaxEpoch(1), 3), ConfigError, "A trigger is needed. Received: 3"),
    (lambda: Linear(3, 0), ConfigError, r"Linear needs two whole numbers.*Received: 3, 0"),
    (lambda: SGD(momentum=0.9, nesterov=True), ConfigError, "dampening=0"),
    (lambda: ClassNLLCriterion(weights=[1, 2]), UnsupportedError, "class_weight"),
    (lambda: nnframes.NNXGBClassifier, AttributeError, "has no 'NNXGBClassifier'.*xgboost"),
]


@pytest.mark.parametrize(("make", "kind", "message"), WRONG)
def test_wrong_arguments_are_named(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


# ---- triggers ------------------------------------------------------------------------------------


def test_triggers_fire_in_time():
    inside, end = Progress(1, 6, 0.5, 0.8, False), Progress(2, 6, 0.5, 0.8, True)
    fires = [
        (EveryEpoch(), False, True), (SeveralIteration(3), True, False), (MaxEpoch(2), False, True),
        (MaxIteration(7), False, False), (MaxIteration(6), True, True),
        (MinLoss(0.6), True, True), (MinLoss(0.5), False, False), (MaxScore(0.8), False, False),
        (MaxScore(0.7), True, True), (TriggerAnd(MinLoss(0.6), EveryEpoch()), False, True),
        (TriggerOr(MaxEpoch(9), MinLoss(0.6)), True, True),
    ]  # fmt: skip
    for trigger, within, at_end in fires:
        assert (trigger.fires(inside), trigger.fires(end)) == (within, at_end), trigger
    assert TriggerOr(MaxEpoch(9), MinLoss(0.6)).most_epochs == 9
    assert TriggerAnd(MaxEpoch(9), MinLoss(0.6)).most_epochs == float("inf")


# ---- Torch-style names ---------------------------------------------------------------------------


def test_models_are_keras_s_own(tmp_path):
    head = Sequential().add(Linear(3, 2)).add(LogSoftMax())
    assert head.input_shape == (None, 3)
    assert abs(head.get_weights()[0]).max() <= 3**-0.5
    head.save(tmp_path / "head.keras")
    there = Model.loadModel(tmp_path / "head.keras")
    assert type(there) is keras.Sequential
    x = RNG.normal(size=(4, 3)).astype(np.float32)
    np.testing.assert_array_equal(there.predict(x, verbose=0), head.predict(x, verbose=0))
    assert type(Model(head.inputs, head.outputs)) is type(keras.Model(head.inputs, head.outputs))


def test_the_criterion_is_the_negative_log_likelihood():
    logp = np.log([[0.2, 0.8], [0.5, 0.5]]).astype(np.float32)
    classes = np.array([1, 0])
    want = -(np.log(0.8) + np.log(0.5))
    assert float(ClassNLLCriterion()(classes, logp)) == pytest.approx(want / 2)
    assert float(ClassNLLCriterion(size_average=False)(classes, logp)) == pytest.approx(want)
    of_probabilities = ClassNLLCriterion(logProbAsInput=False)
    there = keras.losses.deserialize(keras.losses.serialize(of_probabilities))
    assert float(there(classes, np.exp(logp))) == pytest.approx(want / 2)


@pytest.mark.parametrize("average", [True, False])
def test_cross_entropy_takes_logits(average):
    logits, classes = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32), np.array([1, 0])
    criterion = CrossEntropyCriterion(average)
    there = keras.losses.deserialize(keras.losses.serialize(criterion))
    want = np.log(np.exp(logits).sum(axis=1)) - logits[[0, 1], classes]
    for each in (criterion, there):
        assert type(each) is CrossEntropyCriterion
        assert float(each(classes, logits)) == pytest.approx(want.mean() if average else want.sum())


@pytest.mark.parametrize("label", [-1, 2])
@pytest.mark.parametrize("of_logs", [True, False])
def test_a_label_that_is_no_class_ends_training(label, of_logs):
    net = keras.Sequential(
        [keras.Input((3,)), layers.Dense(2, "log_softmax" if of_logs else "softmax")]
    )
    net.compile("sgd", ClassNLLCriterion(logProbAsInput=of_logs))
    with pytest.raises(DataError, match="a label is negative, or not below the number of classes"):
        net.train_on_batch(np.ones((2, 3), np.float32), np.array([0, label]))


def steps_of(optimizer, gradients):
    w = keras.Variable(np.array([1.0, -2.0], np.float32))
    found = []
    for g in gradients:
        optimizer.apply([np.array(g, np.float32)], [w])
        found.append(np.asarray(w).copy())
    return found


@pytest.mark.parametrize(
    ("given", "momentum", "damp", "nesterov", "decay"),
    [
        ({}, 0.0, 0.0, False, 0.0),
        ({"momentum": 0.5}, 0.5, 0.5, False, 0.0),
        ({"momentum": 0.5, "dampening": 0.0, "nesterov": True}, 0.5, 0.0, True, 0.0),
        ({"momentum": 0.5, "weightdecay": 0.1}, 0.5, 0.5, False, 0.1),
        ({"weightdecay": 0.1, "learningrate_decay": 0.5}, 0.0, 0.0, False, 0.1),
    ],
)
def test_sgd_is_torch_s(given, momentum, damp, nesterov, decay):
    gradients = [[1.0, 2.0], [-1.0, 0.5], [0.25, 1.0]]
    optimizer = SGD(learningrate=0.1, **given)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    w, v = np.array([1.0, -2.0]), None
    for t, (found, other) in enumerate(
        zip(steps_of(optimizer, gradients), steps_of(again, gradients), strict=True)
    ):
        g = np.array(gradients[t]) + decay * w
        if momentum:
            v = g if v is None else momentum * v + (1 - damp) * g
            g = g + momentum * v if nesterov else v
        w = w - 0.1 / (1 + t * given.get("learningrate_decay", 0.0)) * g
        np.testing.assert_allclose(found, w, rtol=1e-6)
        np.testing.assert_array_equal(other, found)


@pytest.mark.parametrize("step", [e for e in EXAMPLES if e.layers(True)], ids=repr)
def test_layers_of_steps_are_saved_and_read(step):
    for layer in step.layers(True):
        config = json.loads(json.dumps(layers.serialize(layer)))
        assert layers.serialize(layers.deserialize(config)) == layers.serialize(layer)
