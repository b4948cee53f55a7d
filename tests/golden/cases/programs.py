"""Short programs, each a function of `keras` and a numpy generator that gives arrays. Real Keras
runs them when golden data are made, zoo_keras in the tests."""

from __future__ import annotations

from typing import Any

import numpy as np

Rng = np.random.Generator
PROGRAMS: dict[str, Any] = {}


def program(function: Any) -> Any:
    PROGRAMS[function.__name__] = function
    return function


def floats(rng: Rng, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype("float32")


def seeded(owner: Any, rng: Rng) -> Any:
    """The layer or model with weights of the generator."""
    owner.set_weights([floats(rng, *w.shape) for w in owner.get_weights()])
    return owner


def numbers(*values: Any) -> list[np.ndarray]:
    return [np.asarray(v) for v in values]


# ---- low rank ------------------------------------------------------------------------------------


def _low_rank(keras: Any, rng: Rng, layer: Any, x: np.ndarray) -> list[np.ndarray]:
    model = keras.Sequential([keras.Input(x.shape[1:], dtype=str(x.dtype)), layer])
    seeded(layer, rng)
    layer.enable_lora(2, lora_alpha=3.0)
    seeded(layer, rng)
    first = model.predict(x, verbose=0)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.fit(x, np.zeros_like(first), epochs=2, batch_size=4, shuffle=False, verbose=0)
    return [first, *layer.get_weights()]


@program
def low_rank_dense(keras: Any, rng: Rng) -> Any:
    layer = keras.layers.Dense(3, kernel_regularizer="l2")
    return _low_rank(keras, rng, layer, floats(rng, 8, 4))


@program
def low_rank_einsum(keras: Any, rng: Rng) -> Any:
    layer = keras.layers.EinsumDense("abc,cde->abde", (None, 3, 2), bias_axes="e")
    return _low_rank(keras, rng, layer, floats(rng, 8, 3, 4))


@program
def low_rank_convolution(keras: Any, rng: Rng) -> Any:
    layer = keras.layers.Conv2D(3, 3, padding="same")
    return _low_rank(keras, rng, layer, floats(rng, 8, 6, 6, 2))


@program
def low_rank_embedding(keras: Any, rng: Rng) -> Any:
    ids = rng.integers(0, 10, (8, 5)).astype("int32")
    return _low_rank(keras, rng, keras.layers.Embedding(10, 3), ids)


# ---- batch renormalization -----------------------------------------------------------------------


def _renormed(keras: Any, rng: Rng, **options: Any) -> list[np.ndarray]:
    layer = keras.layers.BatchNormalization(
        renorm=True, momentum=0.7, renorm_momentum=0.8, **options
    )
    found = [layer(3 * floats(rng, 8, 5, 4) + 2, training=True) for _ in range(3)]
    return numbers(*found, layer(floats(rng, 8, 5, 4)), *layer.get_weights())


@program
def renorm(keras: Any, rng: Rng) -> Any:
    return _renormed(keras, rng)


@program
def renorm_clipped(keras: Any, rng: Rng) -> Any:
    limits = {"rmin": 0.9, "rmax": 1.1, "dmax": 0.2}
    return _renormed(keras, rng, renorm_clipping=limits, scale=False, axis=1)


@program
def renorm_trains(keras: Any, rng: Rng) -> Any:
    layers, x = keras.layers, floats(rng, 8, 5, 4)
    x[2, 3:] = 0
    model = keras.Sequential(
        [
            keras.Input((5, 4)), layers.Masking(),
            layers.BatchNormalization(renorm=True, synchronized=True), layers.Dense(1),
        ]
    )  # fmt: skip
    model.layers[-1].set_weights([floats(rng, 4, 1), floats(rng, 1)])
    model.compile(keras.optimizers.SGD(0.001), "mse")
    history = model.fit(x, x[:, :, :1], epochs=3, batch_size=4, shuffle=False, verbose=0).history
    return numbers(history["loss"], *model.get_weights())


# ---- compile -------------------------------------------------------------------------------------


def _nested_model(keras: Any, rng: Rng) -> Any:
    inputs = keras.Input((4,))
    a, b, c, d = (keras.layers.Dense(1, name=n)(inputs) for n in "abcd")
    return seeded(keras.Model(inputs, {"p": a, "q": [b, c], "r": {"x": d}}), rng)


@program
def losses_of_nested_outputs(keras: Any, rng: Rng) -> Any:
    model = _nested_model(keras, rng)
    loss = {"p": ["mse"], "q": ["mse", "mae"], "r": {"x": "mae"}}
    weights = {"p": 1.0, "q": [2.0, 3.0], "r": {"x": 4.0}}
    model.compile(keras.optimizers.SGD(0.01), loss=loss, loss_weights=weights)
    x, y = floats(rng, 8, 4), floats(rng, 8, 1)
    targets = {"p": y, "q": [y, 2 * y], "r": {"x": 3 * y}}
    model.fit(x, targets, verbose=0)
    logs = model.evaluate(x, targets, verbose=0, return_dict=True)
    assert sorted(logs) == ["loss", "p_loss", "q/b_loss", "q/c_loss", "r/x_loss"]
    return numbers([logs[k] for k in sorted(logs)])


@program
def a_function_gives_the_rate(keras: Any, rng: Rng) -> Any:
    model = seeded(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), rng)
    optimizer = keras.optimizers.Adam(lambda: 0.03)
    model.compile(optimizer, "mse")
    model.fit(floats(rng, 8, 4), floats(rng, 8, 1), epochs=2, shuffle=False, verbose=0)
    assert len(optimizer.variables) == 5  # the rate is none of them
    return numbers(float(optimizer.learning_rate), *model.get_weights())


@program
def a_scaled_loss(keras: Any, rng: Rng) -> Any:
    optimizer = keras.optimizers.SGD(0.1, loss_scale_factor=4.0)
    variable = keras.Variable(floats(rng, 3))
    scaled = optimizer.scale_loss(np.float32(2.0))
    optimizer.apply([floats(rng, 3)], [variable])
    return numbers(scaled, variable)


@program
def a_scaled_loss_trains(keras: Any, rng: Rng) -> Any:
    model = seeded(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), rng)
    model.compile(keras.optimizers.Adam(0.03, loss_scale_factor=128.0), "mse")
    model.fit(floats(rng, 8, 4), floats(rng, 8, 1), epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


# ---- state handed in and out ---------------------------------------------------------------------


@program
def stateless_layer(keras: Any, rng: Rng) -> Any:
    layer = keras.layers.BatchNormalization()
    layer.build((None, 3))
    before = layer.get_weights()
    values = [floats(rng, 3), floats(rng, 3)]
    y, after = layer.stateless_call(
        values, [floats(rng, 3), np.ones(3, "float32")], floats(rng, 5, 3), training=True
    )
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True))
    return numbers(y, *after)


@program
def stateless_metric(keras: Any, rng: Rng) -> Any:
    metric = keras.metrics.MeanSquaredError()
    state = metric.stateless_update_state(metric.variables, floats(rng, 4), floats(rng, 4))
    state = metric.stateless_update_state(state, floats(rng, 4), floats(rng, 4))
    return numbers(metric.stateless_result(state), metric.result(), *state)


@program
def stateless_scope(keras: Any, rng: Rng) -> Any:
    one, two = keras.Variable(floats(rng, 3)), keras.Variable(floats(rng, 3))
    value, first = keras.ops.convert_to_tensor(floats(rng, 3)), np.array(two)
    with keras.StatelessScope(state_mapping=[(one, value)]) as scope:
        total = one + two
        two.assign(total * 2.0)
    assert np.array_equal(np.array(two), first)
    return numbers(total, scope.get_current_value(one), scope.get_current_value(two))


# ---- structured data -----------------------------------------------------------------------------


def _columns() -> dict[str, np.ndarray]:
    return {
        "f1": np.array([0.1, 0.2, 0.3, 5.0]), "f2": np.array([1.0, 2.0, 3.0, 9.0]),
        "s1": np.array(["a", "b", "a", "c"]), "i1": np.array([3, 4, 4, 9]),
        "s2": np.array(["x", "y", "y", "x"]), "f3": np.array([0.1, 0.4, 0.6, 0.9]),
    }  # fmt: skip


@program
def feature_space(keras: Any, rng: Rng) -> Any:
    kinds, data = keras.utils.FeatureSpace, _columns()
    space = kinds(
        {
            "f1": "float_normalized",
            "f2": kinds.float_rescaled(2.0, 1.0),
            "s1": "string_categorical",
            "i1": kinds.integer_categorical(max_tokens=4),
            "s2": kinds.string_hashed(5),
            "f3": kinds.float_discretized(3),
        },
        crosses=[("s1", "i1"), kinds.cross(("s2", "i1"), 8)],
        crossing_dim=6,
    )
    space.adapt(data)
    row = {name: column[0] for name, column in data.items()}
    return numbers(space(data), space(row))


@program
def feature_space_of_columns(keras: Any, rng: Rng) -> Any:
    kinds, data = keras.utils.FeatureSpace, _columns()
    space = kinds(
        {
            "s1": kinds.string_categorical(output_mode="int", num_oov_indices=2),
            "i1": "integer_hashed",
            "f2": "float",
        },
        crosses=[kinds.cross(("s1", "i1"), 7, output_mode="int")],
        output_mode="dict",
        hashing_dim=3,
    )
    data = {name: data[name] for name in ("s1", "i1", "f2")}
    space.adapt(data)
    found = space(data)
    assert sorted(found) == ["f2", "i1", "s1", "s1_X_i1"]
    return numbers(*[found[name] for name in sorted(found)])


# ---- bounding boxes ------------------------------------------------------------------------------

FORMATS = ("xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw", "rel_xyxy", "rel_yxyx", "rel_xywh",
           "rel_center_xywh")  # fmt: skip


def boxes_of(rng: Rng, *shape: int) -> np.ndarray:
    low = rng.uniform(0, 8, (*shape, 2))
    return np.concatenate([low, low + rng.uniform(1, 8, (*shape, 2))], -1).astype("float32")


@program
def box_formats(keras: Any, rng: Rng) -> Any:
    convert, boxes = keras.utils.bounding_boxes.convert_format, boxes_of(rng, 3)
    size = {"height": 16, "width": 20}
    there = [convert(boxes, "xyxy", kind, **size) for kind in FORMATS]
    pairs = zip(there, FORMATS, strict=True)
    back = [convert(b, a, c, **size) for b, a in pairs for c in FORMATS]
    return numbers(*there, *back)


@program
def boxes_moved(keras: Any, rng: Rng) -> Any:
    box, boxes = keras.utils.bounding_boxes, boxes_of(rng, 2, 3)
    four = [floats(rng, 2) for _ in range(4)]
    moved = box.affine_transform(
        boxes, 30 * four[0], four[1], four[2], np.array([0.5, 1.5], "float32"), 9 * four[3],
        5 * four[0], 16, 20,
    )  # fmt: skip
    labels = np.array([[1, 2, 3], [4, 5, 6]])
    cut = box.clip_to_image_size({"boxes": 3 * boxes - 9, "labels": labels}, 12, 9)
    shares = box.clip_to_image_size({"boxes": boxes / 8 - 1}, bounding_box_format="rel_xyxy")
    return numbers(
        moved, cut["boxes"], cut["labels"], shares["boxes"], box.crop(boxes, 3, 2, 6, 5),
        box.pad(boxes, 3, 2),
    )  # fmt: skip


@program
def box_overlaps(keras: Any, rng: Rng) -> Any:
    box = keras.utils.bounding_boxes
    one, two, many = boxes_of(rng, 3), boxes_of(rng, 4), boxes_of(rng, 2, 4)
    two[1], shape = -1, (16, 20, 3)
    masked = box.compute_iou(one, two, "xyxy", use_masking=True, mask_val=-2)
    relative = box.compute_iou(one / 20, many / 20, "rel_xywh", image_shape=shape)
    return numbers(
        box.compute_iou(one, two, "xyxy"), masked, box.compute_iou(one, many, "center_yxhw"),
        relative, box.compute_ciou(many, boxes_of(rng, 2, 4), "xyxy"),
    )  # fmt: skip


@program
def box_deltas(keras: Any, rng: Rng) -> Any:
    box, anchors, boxes = keras.utils.bounding_boxes, boxes_of(rng, 4), boxes_of(rng, 2, 4)
    found = []
    for kind in ("center_yxhw", "center_xywh"):
        for variance in (None, [0.1, 0.1, 0.2, 0.3]):
            deltas = box.encode_box_to_deltas(anchors, boxes, "xyxy", "yxyx", kind, variance)
            back = box.decode_deltas_to_boxes(anchors, deltas, "xyxy", "xywh", kind, variance)
            found += [deltas, back]
    levels = box.decode_deltas_to_boxes({1: anchors}, {1: deltas}, "xyxy", "xyxy")
    return numbers(*found, levels[1])


# ---- images --------------------------------------------------------------------------------------


@program
def equalized_tiles(keras: Any, rng: Rng) -> Any:
    kind = keras.layers.ContrastLimitedAdaptiveHistogramEqualization
    images = rng.integers(0, 256, (2, 20, 27, 3))
    first = kind(tile_grid_size=(3, 4), data_format="channels_first")
    return numbers(
        kind(tile_grid_size=(2, 3))(images.astype("float32")),
        kind(value_range=(0, 1), clip_limit=0.0)(images[0].astype("float32") / 255),
        first(images.transpose(0, 3, 1, 2).astype("float32")),
    )


def _with_boxes(rng: Rng, size: int = 16) -> dict[str, Any]:
    boxes = {"boxes": boxes_of(rng, 2, 3), "labels": np.array([[1, 2, 3], [4, 5, 6]])}
    return {"images": floats(rng, 2, size, size, 3), "bounding_boxes": boxes}


def _boxes(made: Any) -> list[np.ndarray]:
    return numbers(*[made["bounding_boxes"][k] for k in ("boxes", "labels")])


@program
def boxes_of_sized_images(keras: Any, rng: Rng) -> Any:
    layers, data = keras.layers, _with_boxes(rng)
    kind = {"bounding_box_format": "xyxy"}
    made = [
        layers.Resizing(8, 24, **kind), layers.Resizing(8, 24, pad_to_aspect_ratio=True, **kind),
        layers.Resizing(8, 16, crop_to_aspect_ratio=True, **kind), layers.CenterCrop(8, 12, **kind),
    ]  # fmt: skip
    copies = [{**data, "bounding_boxes": dict(data["bounding_boxes"])} for _ in made]
    return [v for layer, copy in zip(made, copies, strict=True) for v in _boxes(layer(copy))]


@program
def boxes_that_move(keras: Any, rng: Rng) -> Any:
    layers, data = keras.layers, _with_boxes(rng)
    kind = {"bounding_box_format": "xyxy"}
    made = [
        layers.RandomTranslation((0.2, 0.2), (-0.1, -0.1), **kind),
        layers.RandomZoom((0.3, 0.3), (-0.2, -0.2), **kind),
        layers.RandomRotation((0.1, 0.1), **kind),
    ]
    copies = [{**data, "bounding_boxes": dict(data["bounding_boxes"])} for _ in made]
    return [
        v
        for layer, copy in zip(made, copies, strict=True)
        for v in _boxes(layer(copy, training=True))
    ]


# ---- ops -----------------------------------------------------------------------------------------


@program
def rearranged(keras: Any, rng: Rng) -> Any:
    x, ops = floats(rng, 2, 6, 8, 3), keras.ops
    return numbers(
        ops.rearrange(x, "b h w c -> b c h w"),
        ops.rearrange(x, "b h w c -> (b h) w c"),
        ops.rearrange(x, "b h w c -> h (b w) c"),
        ops.rearrange(x, "b (h1 h) (w1 w) c -> (b h1 w1) h w c", h1=2, w1=4),
        ops.rearrange(x, "b (h h1) (w w1) c -> b h w (c h1 w1)", h1=2, w1=2),
    )


@program
def image_windows(keras: Any, rng: Rng) -> Any:
    ops, x = keras.ops, floats(rng, 2, 3, 7, 9)
    how = [{"kernel_size": 3}, {"kernel_size": (2, 3), "stride": 2, "padding": (1, 0)},
           {"kernel_size": 2, "dilation": (2, 3), "padding": 2, "stride": (1, 2)}]  # fmt: skip
    columns = [ops.unfold(x, **given) for given in how]
    back = [ops.fold(c, (7, 9), **given) for c, given in zip(columns, how, strict=True)]
    return numbers(*columns, *back)


@program
def derivatives_along(keras: Any, rng: Rng) -> Any:
    ops = keras.ops
    x, v = (ops.convert_to_tensor(floats(rng, 3, 4)) for _ in range(2))
    one = ops.jvp(ops.sin, (x,), (v,))
    w, u = (ops.convert_to_tensor(floats(rng, 4, 2)) for _ in range(2))
    two = ops.jvp(lambda a, b: ops.tanh(ops.matmul(a, b)), (x, w), (v, u))
    three = ops.jvp(lambda a: (ops.sum(ops.square(a), axis=1), a + 1), (x,), (v,), has_aux=True)
    return numbers(*one, *two, *three)


@program
def complex_numbers(keras: Any, rng: Rng) -> Any:
    ops, pairs = keras.ops, floats(rng, 3, 2)
    made = ops.view_as_complex(pairs)
    turned = ops.polar(np.abs(floats(rng, 4)), floats(rng, 4))
    return numbers(
        ops.real(made), ops.imag(made), ops.view_as_real(turned), ops.angle(made),
        ops.view_as_real(ops.conjugate(made)), ops.absolute(made),
    )  # fmt: skip


@program
def eigenvalues(keras: Any, rng: Rng) -> Any:
    matrix = floats(rng, 4, 4)
    values, vectors = keras.ops.eig(matrix)
    values, vectors = np.asarray(values), np.asarray(vectors)
    back = (vectors * values) @ np.linalg.inv(vectors)
    values = values[np.lexsort((values.imag, values.real))]
    return numbers(values.real, values.imag, back.real)


@program
def own_gradients(keras: Any, rng: Rng) -> Any:
    ops = keras.ops

    @ops.custom_gradient
    def halved(x: Any) -> Any:
        def grad(*args: Any, upstream: Any = None) -> Any:
            return 0.5 * (args[0] if upstream is None else upstream)

        return ops.square(x), grad

    class Halved(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return halved(x)

    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), Halved(), keras.layers.Dense(1)]
    )
    seeded(model, rng)
    model.compile(keras.optimizers.SGD(0.05), "mse")
    model.fit(floats(rng, 8, 4), floats(rng, 8, 1), epochs=2, shuffle=False, verbose=0)
    return [np.asarray(halved(np.float32([2.0, 3.0]))), *model.get_weights()]


# ---- optimizers ----------------------------------------------------------------------------------


def _stack(keras: Any, rng: Rng) -> Any:
    layers = keras.layers
    return seeded(
        keras.Sequential(
            [keras.Input((4,)), layers.Dense(3, name="first"), layers.Dense(1, name="second")]
        ),
        rng,
    )


def _fitted(keras: Any, rng: Rng, optimizer: Any) -> list[np.ndarray]:
    model = _stack(keras, rng)
    model.compile(optimizer, "mse")
    model.fit(floats(rng, 8, 4), floats(rng, 8, 1), epochs=3, batch_size=4, shuffle=False,
              verbose=0)  # fmt: skip
    return [*model.get_weights(), *numbers(*[v.numpy() for v in optimizer.variables])]


@program
def several_optimizers(keras: Any, rng: Rng) -> Any:
    kinds = keras.optimizers
    chosen = kinds.OptimizerMap(kinds.SGD(0.01, momentum=0.9), {".*first/.*": kinds.Adam(0.02)})
    return _fitted(keras, rng, kinds.MultiOptimizer(chosen))


# ---- distillation --------------------------------------------------------------------------------


def _pair(keras: Any, rng: Rng) -> list[Any]:
    made = []
    for name, width in (("teacher", 8), ("student", 5)):
        x = inputs = keras.Input((4,))
        x = keras.layers.Dense(width, activation="tanh")(x)
        x = keras.layers.Dense(3, name="middle")(x)
        made.append(seeded(keras.Model(inputs, keras.layers.Dense(2)(x), name=name), rng))
    return made


def _distilled(keras: Any, rng: Rng, losses: Any, **options: Any) -> list[np.ndarray]:
    distiller = keras.distillation.Distiller(*_pair(keras, rng), losses, **options)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile(keras.optimizers.SGD(0.01), loss=loss)
    x, y = floats(rng, 8, 4), rng.integers(0, 2, (8,))
    history = distiller.fit(x, y, epochs=2, batch_size=4, shuffle=False, verbose=0).history
    names = ("student_loss", "distillation_loss", "total_loss")
    return numbers(*[history[n] for n in names], *distiller.student.get_weights())


@program
def distilled_logits(keras: Any, rng: Rng) -> Any:
    kind = keras.distillation
    return _distilled(keras, rng, kind.LogitsDistillation(2.0), student_loss_weight=0.3)


@program
def distilled_features(keras: Any, rng: Rng) -> Any:
    kind = keras.distillation
    losses = [
        kind.FeatureDistillation("mse", "middle", "middle"), kind.LogitsDistillation(2.0, "mse"),
    ]  # fmt: skip
    return _distilled(keras, rng, losses, distillation_loss_weights=[0.5, 2.0])


# ---- models and policies -------------------------------------------------------------------------


@program
def gradients_of_a_model(keras: Any, rng: Rng) -> Any:
    tape_free = hasattr(keras.backend, "gradients")
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, activation="tanh", name="hidden")(inputs)
    model = seeded(keras.Model(inputs, keras.layers.Dense(2)(hidden)), rng)
    x, kernel = floats(rng, 5, 4), model.get_layer("hidden").kernel
    if tape_free:
        found = keras.backend.gradients(model.output, [inputs, hidden, kernel])
        return keras.backend.function([inputs], found)([x])
    import tensorflow as tf

    both = keras.Model(inputs, [hidden, model.output])
    with tf.GradientTape() as tape:
        given = tf.constant(x)
        tape.watch(given)
        between, out = both(given)
    return numbers(*tape.gradient(out, [given, between, kernel]))


@program
def functions_and_operations(keras: Any, rng: Rng) -> Any:
    class Twice(keras.Operation):
        def call(self, x: Any) -> Any:
            return 2 * x

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype)

    inputs = keras.Input((4,))
    made = keras.Function(inputs, Twice()(inputs) + 1)
    assert isinstance(keras.layers.Dense(2), keras.Operation) and len(made.operations) == 3
    return numbers(made(floats(rng, 2, 4)), Twice()(floats(rng, 3)))


@program
def fake_quantisation(keras: Any, rng: Rng) -> Any:
    fake = keras.quantizers.fake_quant_with_min_max_vars
    x = 3 * floats(rng, 4, 5)
    low, high = -np.abs(floats(rng, 5)), np.abs(floats(rng, 5)) + 0.1
    return numbers(
        fake(x, -2.0, 1.5), fake(x, -2.0, 1.5, num_bits=4, narrow_range=True),
        fake(x, low, high, axis=1),
        keras.quantizers.quantize_and_dequantize(x, 0.01, "float8_e4m3fn", "float32"),
        keras.quantizers.quantize_and_dequantize(x, 0.1, "float8_e5m2", "float32"),
    )  # fmt: skip


@program
def masks_drawn(keras: Any, rng: Rng) -> Any:
    draw = keras.visualization.draw_segmentation_masks
    images = rng.integers(0, 255, (2, 4, 5, 3)).astype("uint8")
    masks = rng.integers(-1, 4, (2, 4, 5, 1)).astype("int32")
    colors = {i: (i * 10, 200, 30) for i in range(4)}
    return numbers(
        draw(images, masks, num_classes=4),
        draw(images, masks, num_classes=4, color_mapping=colors, alpha=0.5, ignore_index=2),
    )
