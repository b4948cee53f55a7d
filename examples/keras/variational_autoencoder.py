"""A variational autoencoder with a train_step of its own; result: loss at the end and its parts."""

import keras
import tensorflow as tf
from keras import layers, ops
from made_data import digits

LATENT = 2


class Sampling(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(5)

    def call(self, inputs):
        mean, log_variance = inputs
        noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * noise


def make_encoder():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(inputs)
    x = layers.Flatten()(x)
    x = layers.Dense(32, activation="relu")(x)
    mean = layers.Dense(LATENT, name="mean")(x)
    log_variance = layers.Dense(LATENT, name="log_variance")(x)
    sampled = Sampling()([mean, log_variance])
    return keras.Model(inputs, [mean, log_variance, sampled], name="encoder")


def make_decoder():
    inputs = keras.Input((LATENT,))
    x = layers.Dense(4 * 4 * 16, activation="relu")(inputs)
    x = layers.Reshape((4, 4, 16))(x)
    x = layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu")(x)
    outputs = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x)
    return keras.Model(inputs, outputs, name="decoder")


class VariationalAutoencoder(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder = make_encoder(), make_decoder()
        self.total = keras.metrics.Mean(name="loss")
        self.reconstruction = keras.metrics.Mean(name="reconstruction")
        self.divergence = keras.metrics.Mean(name="divergence")

    @property
    def metrics(self):
        return [self.total, self.reconstruction, self.divergence]

    def call(self, inputs):
        return self.decoder(self.encoder(inputs)[0])

    def train_step(self, data):
        images = data[0] if isinstance(data, tuple) else data
        with tf.GradientTape() as tape:
            mean, log_variance, sampled = self.encoder(images)
            remade = self.decoder(sampled)
            wrong = keras.losses.binary_crossentropy(images, remade)
            reconstruction = ops.mean(ops.sum(wrong, axis=(1, 2)))
            spread = 1 + log_variance - ops.square(mean) - ops.exp(log_variance)
            divergence = ops.mean(ops.sum(-0.5 * spread, axis=1))
            total = reconstruction + divergence
        gradients = tape.gradient(total, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights))
        self.total.update_state(total)
        self.reconstruction.update_state(reconstruction)
        self.divergence.update_state(divergence)
        return {m.name: m.result() for m in self.metrics}


def main(fit=keras.Model.fit):
    x = digits()[0]
    model = VariationalAutoencoder()
    model.compile(optimizer=keras.optimizers.Adam(3e-3))
    history = fit(model, x, None, batch_size=64, epochs=12, verbose=0).history
    return {name: values[-1] for name, values in history.items()}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
