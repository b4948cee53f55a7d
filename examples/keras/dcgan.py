"""A generator and a critic of convolutions play against each other, with an optimizer each; result:
how far the mean brightness and the mean picture of what is drawn are from the real ones."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from made_data import digits

LATENT = 16


def make_critic():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(32, 3, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Conv2D(64, 3, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(1),
        ],
        name="critic",
    )


def make_generator():
    return keras.Sequential(
        [
            keras.Input((LATENT,)),
            layers.Dense(2 * 2 * 64),
            layers.Reshape((2, 2, 64)),
            layers.Conv2DTranspose(64, 4, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Conv2DTranspose(32, 4, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
        ],
        name="generator",
    )


class GAN(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.critic, self.generator = make_critic(), make_generator()
        self.critic_loss = keras.metrics.Mean(name="critic_loss")
        self.generator_loss = keras.metrics.Mean(name="generator_loss")
        self.entropy = keras.losses.BinaryCrossentropy(from_logits=True)
        self.seed_generator = keras.random.SeedGenerator(7)

    def compile(self, critic_optimizer, generator_optimizer):
        super().compile()
        self.critic_optimizer, self.generator_optimizer = critic_optimizer, generator_optimizer

    @property
    def metrics(self):
        return [self.critic_loss, self.generator_loss]

    def noise(self, count):
        return keras.random.normal((count, LATENT), seed=self.seed_generator)

    def train_step(self, data):
        images = data[0] if isinstance(data, tuple) else data
        count = ops.shape(images)[0]
        both = ops.concatenate([images, self.generator(self.noise(count))], axis=0)
        labels = ops.concatenate([ops.ones((count, 1)), ops.zeros((count, 1))], axis=0)
        with tf.GradientTape() as tape:
            critic_loss = self.entropy(labels, self.critic(both, training=True))
        weights = self.critic.trainable_weights
        self.critic_optimizer.apply_gradients(zip(tape.gradient(critic_loss, weights), weights))
        with tf.GradientTape() as tape:
            judged = self.critic(self.generator(self.noise(count)))
            generator_loss = self.entropy(ops.ones((count, 1)), judged)
        weights = self.generator.trainable_weights
        grads = tape.gradient(generator_loss, weights)
        self.generator_optimizer.apply_gradients(zip(grads, weights))
        self.critic_loss.update_state(critic_loss)
        self.generator_loss.update_state(generator_loss)
        return {m.name: m.result() for m in self.metrics}


def main(fit=keras.Model.fit):
    x = digits()[0]
    model = GAN()
    model.compile(*(keras.optimizers.Adam(1e-3, beta_1=0.5) for _ in range(2)))
    fit(model, x, None, batch_size=64, epochs=30, verbose=0)
    noise = np.random.default_rng(0).normal(size=(256, LATENT)).astype("float32")
    drawn = model.generator.predict(noise, verbose=0)
    return {
        "brightness": float(abs(drawn.mean() - x.mean())),
        "mean_picture": float(np.abs(drawn.mean(0) - x.mean(0)).mean()),
    }


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
