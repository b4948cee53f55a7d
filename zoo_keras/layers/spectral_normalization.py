"""SpectralNormalization: a layer whose kernel is divided by its spectral norm in training."""

from __future__ import annotations

from typing import Any

from zoo_keras import initializers, ops
from zoo_keras.layers.base.arguments import argument_error, positive
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.wrappers import Wrapper


class SpectralNormalization(Wrapper):
    """Keeps the spectral norm of a layer's kernel, or table of embeddings, at 1.

    Every training step divides the kernel itself, as in Keras; gradients are those of the divided
    kernel. https://keras.io/api/layers/normalization_layers/spectral_normalization/

    Raises ConfigError for a layer without `kernel` or `embeddings`.

    >>> SpectralNormalization(Dense(4))(np.ones((2, 3))).shape
    (2, 4)
    """

    def __init__(self, layer: Any, power_iterations: int = 1, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.power_iterations = positive(self, "power_iterations", power_iterations)

    def build(self, input_shape: Any = None) -> None:
        """Build the layer inside, and the vector of the power iteration."""
        super().build(input_shape)
        self.input_spec = InputSpec(min_ndim=1, axes={-1: input_shape[-1]})
        self.kernel = self._weight()  # in files it is this layer's, too
        self.vector_u = self.add_weight(
            shape=(1, self._weight().shape[-1]), trainable=False, name="vector_u",
            initializer=initializers.TruncatedNormal(stddev=0.02), dtype=self._weight().dtype,
        )  # fmt: skip

    def _weight(self) -> Any:
        for name in ("kernel", "embeddings"):
            if hasattr(self.layer, name):
                return getattr(self.layer, name)
        raise argument_error(
            self, "layer", "a layer with a kernel or embeddings", self.layer,
            "Wrap layers such as Dense or Conv2D.",
        )  # fmt: skip

    def call(self, inputs: Any, training: Any = False) -> Any:
        """What the layer makes of the inputs; in training its kernel is divided first."""
        if training:
            self._divide()
        return ops.cast(self.layer(inputs), inputs.dtype)

    def _divide(self) -> None:
        kernel = ops.convert_to_tensor(self._weight())
        rows = ops.reshape(ops.stop_gradient(kernel), (-1, kernel.shape[-1]))
        u = before = ops.convert_to_tensor(self.vector_u)
        for _ in range(self.power_iterations):
            v = ops.normalize(ops.matmul(u, ops.transpose(rows)), axis=None)
            u = ops.normalize(ops.matmul(v, rows), axis=None)
        sigma = ops.matmul(ops.matmul(v, rows), ops.transpose(u))
        zero = ops.all(ops.equal(rows, 0.0))
        change = ops.where(zero, 0.0, ops.divide(rows, ops.where(zero, 1.0, sigma)) - rows)
        self.vector_u.assign(ops.where(zero, before, u))
        self._weight().assign(kernel + ops.reshape(change, kernel.shape))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "power_iterations": self.power_iterations}
