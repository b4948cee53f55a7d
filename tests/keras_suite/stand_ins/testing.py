"""`keras.src.testing`: the TestCase of Keras' tests, written over zoo_keras.

In: a layer class, its arguments and inputs, and what is expected. Out: assertions. A layer is
built, called on KerasTensors and on arrays, trained for a step, computed with mixed_bfloat16 and
made anew of its config.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absent import needs
from absl.testing import parameterized

import zoo_keras
from zoo_keras import backend, models, ops, saving, tree
from zoo_keras.backend import standardize_dtype
from zoo_keras.ops.symbolic import KerasTensor
from zoo_keras.random import SeedGenerator


def _no() -> bool:
    return False


uses_gpu = uses_tpu = jax_uses_gpu = jax_uses_tpu = tensorflow_uses_gpu = tensorflow_uses_tpu = _no
torch_uses_gpu = _no


def _array(x: Any) -> np.ndarray:
    if isinstance(x, list) and x and isinstance(x[0], (str, list)):
        return np.asarray(x)  # rows of text
    return x if isinstance(x, np.ndarray) else ops.convert_to_numpy(x)


def _is_shape(x: Any) -> bool:
    return isinstance(x, (list, tuple)) and all(e is None or isinstance(e, int) for e in x)


def _each_shape(function: Callable[..., Any], shape: Any, dtype: Any) -> Any:
    """function(shape, dtype) for each shape in a structure of them."""
    if _is_shape(shape):
        return function(tuple(shape), dtype)
    if isinstance(shape, dict):
        return {
            k.removesuffix("_shape"): _each_shape(function, v, dtype[k]) for k, v in shape.items()
        }
    return type(shape)(_each_shape(function, s, d) for s, d in zip(shape, dtype))


def _shapes_like(shape: Any, value: str) -> Any:
    if _is_shape(shape):
        return value
    if isinstance(shape, dict):
        return {k: _shapes_like(v, value) for k, v in shape.items()}
    return type(shape)(_shapes_like(s, value) for s in shape)


def _symbol(x: Any) -> KerasTensor:
    return KerasTensor(ops.shape(x), dtype=standardize_dtype(x.dtype))


def _random(shape: tuple[int, ...], dtype: str) -> Any:
    numbers = np.random.default_rng(0).uniform(0, 3, shape)
    return ops.cast(ops.convert_to_tensor(numbers.astype("float32")), dtype)


def _call(layer: Any, inputs: Any, kwargs: dict[str, Any]) -> Any:
    return layer(**inputs, **kwargs) if isinstance(inputs, dict) else layer(inputs, **kwargs)


def seed_generators(layer: Any) -> list[SeedGenerator]:
    """Those of a layer and of the layers in it."""
    found: dict[int, SeedGenerator] = {}
    for each in layer._flatten_layers():
        for value in vars(each).values():
            for item in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(item, SeedGenerator):
                    found[id(item)] = item
    return list(found.values())


def _to_json(value: Any) -> str:
    """JSON that tells tuples from lists."""

    def marked(x: Any) -> Any:
        if isinstance(x, tuple):
            return {"tuple": [marked(e) for e in x]}
        if isinstance(x, list):
            return [marked(e) for e in x]
        return {k: marked(v) for k, v in x.items()} if isinstance(x, dict) else x

    return json.dumps(marked(value), sort_keys=True)


def _from_json(text: str) -> Any:
    return json.loads(text, object_hook=lambda d: tuple(d["tuple"]) if set(d) == {"tuple"} else d)


def _test_classes() -> dict[str, type]:
    """Classes of test files: Keras finds them as parts of its package."""
    files = [
        m
        for n, m in list(sys.modules.items())
        if n.startswith("keras.src.") and n.endswith("_test")
    ]
    found = {k: v for m in files for k, v in vars(m).items() if isinstance(v, type)}
    return {k: v for k, v in found.items() if v.__module__.endswith("_test")}


class TestCase(parameterized.TestCase):
    """Assertions of Keras' tests."""

    maxDiff = None
    words_matter = True  # False: an error's type is compared, not what it says

    def assertRaisesRegex(
        self, expected_exception: Any, expected_regex: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if self.words_matter:
            return super().assertRaisesRegex(expected_exception, expected_regex, *args, **kwargs)
        return super().assertRaises(expected_exception, *args, **kwargs)

    def setUp(self) -> None:
        backend.clear_session()

    def get_temp_dir(self) -> str:
        made = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, made, ignore_errors=True)
        return made

    def convert_to_numpy(self, x: Any) -> np.ndarray:
        return _array(x)

    def assertAllClose(self, actual: Any, desired: Any, atol: float = 1e-6,
                       rtol: float = 1e-6, tpu_atol: Any = None, tpu_rtol: Any = None,
                       msg: Any = None) -> None:  # fmt: skip
        np.testing.assert_allclose(_array(actual), _array(desired), rtol, atol, err_msg=msg or "")

    def assertNotAllClose(self, x1: Any, x2: Any, atol: float = 1e-6, rtol: float = 1e-6,
                          msg: Any = None) -> None:  # fmt: skip
        try:
            self.assertAllClose(x1, x2, atol, rtol)
        except AssertionError:
            return
        raise AssertionError(msg or f"all elements are close: {x1}")

    def assertAlmostEqual(self, actual: Any, desired: Any, decimal: int = 3,
                          tpu_decimal: Any = None, msg: Any = None) -> None:  # fmt: skip
        np.testing.assert_almost_equal(_array(actual), _array(desired), decimal, err_msg=msg or "")

    def assertAllEqual(self, actual: Any, desired: Any, msg: Any = None) -> None:
        np.testing.assert_array_equal(_array(actual), _array(desired), err_msg=msg or "")

    def assertLen(self, iterable: Any, expected_len: int, msg: Any = None) -> None:
        self.assertEqual(len(iterable), expected_len, msg=msg)

    def assertSparse(self, x: Any, sparse: bool = True) -> None:
        self.assertEqual(getattr(x, "sparse", False), sparse)

    def assertRagged(self, x: Any, ragged: bool = True) -> None:
        self.assertEqual(getattr(x, "ragged", False), ragged)

    def assertDType(self, x: Any, dtype: Any, msg: Any = None) -> None:
        found = standardize_dtype(x.dtype if hasattr(x, "dtype") else type(x))
        self.assertEqual(found, standardize_dtype(dtype), msg=msg)

    def assertFileExists(self, path: Any) -> None:
        self.assertTrue(Path(path).is_file(), msg=f"no file {path}")

    def run_class_serialization_test(self, instance: Any, custom_objects: Any = None) -> Any:
        """An object made anew of its config, and of its serialized form, has the same config."""
        config = _to_json(instance.get_config())
        with saving.custom_object_scope({**_test_classes(), **(custom_objects or {})}):
            again = type(instance).from_config(instance.get_config())
            self.assertEqual(config, _to_json(again.get_config()))
            serialized = _from_json(_to_json(saving.serialize_keras_object(instance)))
            again = saving.deserialize_keras_object(serialized)
        self.assertEqual(config, _to_json(again.get_config()))
        return again

    def run_layer_test(self, layer_cls: Any, init_kwargs: Any, **expected: Any) -> None:
        """Everything that Keras asks of a layer; see _LayerCheck."""
        _LayerCheck(self, layer_cls, init_kwargs or {}, expected).run()


_DEFAULTS = dict.fromkeys(
    "input_shape input_dtype input_data expected_output_shape expected_output_dtype "
    "expected_output expected_num_trainable_weights expected_num_non_trainable_weights "
    "expected_num_non_trainable_variables expected_num_seed_generators expected_num_losses "
    "supports_masking expected_mask_shape custom_objects call_kwargs tpu_atol tpu_rtol".split()
) | {
    "input_sparse": False, "input_ragged": False, "expected_output_sparse": False,
    "expected_output_ragged": False, "run_training_check": True, "run_mixed_precision_check": True,
    "assert_built_after_instantiation": False,
}  # fmt: skip


class _LayerCheck:
    """One call of run_layer_test."""

    def __init__(self, case: TestCase, cls: Any, init: dict[str, Any], expected: Any) -> None:
        unknown = set(expected) - set(_DEFAULTS)
        if unknown:
            raise TypeError(f"run_layer_test: unknown arguments {sorted(unknown)}")
        self.case, self.cls, self.init = case, cls, init
        self.want = {**_DEFAULTS, **expected}
        self.kwargs = self.want["call_kwargs"] or {}

    def make(self) -> Any:
        return self.cls(**self.init)

    def run(self) -> None:
        want = self.want
        if want["input_sparse"] or want["input_ragged"]:
            needs("sparse or ragged tensors")
        self.configs()
        if want["input_shape"] is None and want["input_data"] is None:
            return
        self.inputs()
        self.built()
        self.symbolic()
        if want["assert_built_after_instantiation"]:
            self.case.assertTrue(self.make().built)
        outputs = self.eager()
        if want["run_training_check"]:
            self.trained(outputs)
        if want["run_mixed_precision_check"]:
            self.mixed()

    def configs(self) -> None:
        layer = self.make()
        self.case.run_class_serialization_test(layer, self.want["custom_objects"])
        if self.want["supports_masking"] is not None:
            self.case.assertEqual(layer.supports_masking, self.want["supports_masking"])

    def inputs(self) -> None:
        """Arrays, and KerasTensors of their shapes."""
        shape, data = self.want["input_shape"], self.want["input_data"]
        if data is None:
            dtype = self.want["input_dtype"] or _shapes_like(shape, "float32")
            data = _each_shape(_random, shape, dtype)
            self.symbols = _each_shape(lambda s, d: KerasTensor(s, dtype=d), shape, dtype)
            self.shapes = shape
        else:
            self.symbols = tree.map_structure(_symbol, data)
            self.shapes = tree.map_structure(lambda x: tuple(ops.shape(x)), data)
        self.data = data

    def counted(self, layer: Any) -> None:
        case, want = self.case, self.want
        for name in ("trainable_weights", "non_trainable_weights", "non_trainable_variables"):
            number = want[f"expected_num_{name}"]
            if number is not None:
                case.assertLen(getattr(layer, name), number, msg=f"Unexpected number of {name}")
        if want["expected_num_seed_generators"] is not None:
            number = want["expected_num_seed_generators"]
            case.assertLen(seed_generators(layer), number, msg="Unexpected number of generators")

    def built(self) -> None:
        layer = self.make()
        if isinstance(self.shapes, dict):
            keys = {k if k.endswith("_shape") else f"{k}_shape": v for k, v in self.shapes.items()}
            layer.build(**(keys if self.want["input_shape"] is not None else self.shapes))
        else:
            layer.build(self.shapes)
        self.case.assertTrue(layer.built)
        self.counted(layer)

    def symbolic(self) -> None:
        layer = self.make()
        outputs = _call(layer, self.symbols, self.kwargs)
        self.case.assertTrue(layer.built)
        self.counted(layer)
        self.shaped(outputs)
        mask_shape = self.want["expected_mask_shape"]
        if mask_shape is not None:
            self.case.assertEqual(mask_shape, layer.compute_mask(self.symbols).shape)

    def eager(self) -> Any:
        layer = self.make()
        outputs = _call(layer, self.data, self.kwargs)
        self.shaped(outputs)
        expected = self.want["expected_output"]
        if expected is not None:
            for a, b in zip(tree.flatten(expected), tree.flatten(outputs)):
                self.case.assertAllClose(a, b, msg="Unexpected output value")
        if self.want["expected_num_losses"] is not None:
            self.case.assertLen(layer.losses, self.want["expected_num_losses"])
        return outputs

    def shaped(self, outputs: Any) -> None:
        shapes, dtypes = self.want["expected_output_shape"], self.want["expected_output_dtype"]
        if shapes is not None:
            got = tree.map_structure(lambda x: tuple(x.shape), outputs)
            self.case.assertTrue(_agree(shapes, got), msg=f"Expected shapes {shapes}, got {got}")
        if dtypes is not None:
            got = tree.map_structure(lambda x: standardize_dtype(x.dtype), outputs)
            self.case.assertEqual(tree.flatten(dtypes), tree.flatten(got))

    def trained(self, outputs: Any) -> None:
        class Around(models.Model):
            def __init__(self, layer: Any) -> None:
                super().__init__()
                self.layer = layer

            def call(self, x: Any, training: bool = False) -> Any:
                return self.layer(x, training=training)

        class Total(zoo_keras.losses.Loss):
            def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
                return ops.sum(y_pred)

        model = Around(self.make())
        model.compile(optimizer="sgd", loss=Total())
        data = tree.map_structure(_array, (self.data, outputs))
        model.fit(itertools.repeat(data), steps_per_epoch=1, verbose=0)

    def mixed(self) -> None:
        layer = self.cls(**{**self.init, "dtype": "mixed_bfloat16"})
        outputs = _call(layer, self.data, self.kwargs)

        def cast(spec: KerasTensor) -> KerasTensor:
            floating = layer.autocast and backend.is_float_dtype(spec.dtype)
            return KerasTensor(spec.shape, dtype=layer.compute_dtype if floating else spec.dtype)

        symbols = tree.map_structure(cast, self.symbols)
        spec = (layer.compute_output_spec(**symbols) if isinstance(symbols, dict)
                else layer.compute_output_spec(symbols))  # fmt: skip
        for got, wanted in zip(tree.flatten(outputs), tree.flatten(spec)):
            self.case.assertEqual(standardize_dtype(got.dtype), wanted.dtype)
        for weight in layer.weights:
            if backend.is_float_dtype(weight.dtype):
                self.case.assertEqual(standardize_dtype(weight.dtype), "float32")


def _agree(expected: Any, got: Any) -> bool:
    if _is_shape(expected):
        sizes = zip(expected, got) if _is_shape(got) else ()
        return len(expected) == len(got) and all(e in (None, g) for e, g in sizes)
    if isinstance(expected, dict):
        return all(_agree(v, got[k]) for k, v in expected.items())
    return len(expected) == len(got) and all(map(_agree, expected, got))


# ---- keras.src.testing.test_utils ----------------------------------------------------------------


def named_product(*args: Any, **kwargs: Any) -> list[dict[str, Any]]:
    """All combinations of named parameters, each with a name of its own."""
    axes = [list(each) for each in args]
    for key, values in kwargs.items():
        axes.append([{"testcase_name": _word(v), key: v} for v in values])
    found = []
    for parts in itertools.product(*reversed(axes)):
        parts = parts[::-1]
        merged = {k: v for part in parts for k, v in part.items()}
        names = [str(part["testcase_name"]) for part in parts]
        found.append({**merged, "testcase_name": "_".join(names)})
    return found


def _word(value: Any) -> str:
    return str(getattr(value, "__name__", value)).lower()


def get_test_data(train_samples: int, test_samples: int, input_shape: tuple[int, ...],
                  num_classes: int, random_seed: Any = None) -> Any:  # fmt: skip
    """Noisy copies of a pattern for each class: (x, y) to train on and (x, y) to test."""
    rng = np.random.RandomState(random_seed)
    patterns = 2 * num_classes * rng.random_sample((num_classes, *input_shape))

    def part(samples: int) -> tuple[np.ndarray, np.ndarray]:
        y = rng.permutation(np.arange(samples) % num_classes)
        return (patterns[y] + rng.normal(size=(samples, *input_shape))).astype("float32"), y

    return part(train_samples), part(test_samples)
