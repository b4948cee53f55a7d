"""Points on a ring by a Wasserstein GAN with a gradient penalty: a tape inside a tape; result: the
mean distance of drawn points from the ring's centre, 1 in the data."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

LATENT = 4


def make_net(inputs, outputs, name):
    return keras.Sequential(
        [
            keras.Input((inputs,)),
            layers.Dense(64, activation="silu"),
            layers.Dense(64, activation="silu"),
            layers.Dense(outputs),
        ],
        name=name,
    )


class WGAN(keras.Model):
    def __init__(self, penalty=0.3, **kwargs):
        super().__init__(**kwargs)
        self.critic, self.generator = make_net(2, 1, "critic"), make_net(LATENT, 2, "generator")
        self.penalty = penalty
        self.seed_generator = keras.random.SeedGenerator(11)

    def compile(self, critic_optimizer, generator_optimizer):
        super().compile()
        self.critic_optimizer, self.generator_optimizer = critic_optimizer, generator_optimizer

    def noise(self, count):
        return keras.random.normal((count, LATENT), seed=self.seed_generator)

    def gradient_penalty(self, real, fake):
        count = ops.shape(real)[0]
        share = keras.random.uniform((count, 1), seed=self.seed_generator)
        between = real + share * (fake - real)
        with tf.GradientTape() as tape:
            tape.watch(between)
            judged = self.critic(between, training=True)
        slopes = tape.gradient(judged, between)
        length = ops.sqrt(ops.sum(ops.square(slopes), axis=1) + 1e-12)
        return ops.mean(ops.square(length - 1.0))

    def train_step(self, data):
        real = data[0] if isinstance(data, tuple) else data
        count = ops.shape(real)[0]
        for _ in range(4):
            fake = self.generator(self.noise(count))
            with tf.GradientTape() as tape:
                gain = ops.mean(self.critic(fake)) - ops.mean(self.critic(real))
                critic_loss = gain + self.penalty * self.gradient_penalty(real, fake)
            weights = self.critic.trainable_weights
            grads = tape.gradient(critic_loss, weights)
            self.critic_optimizer.apply_gradients(zip(grads, weights))
        with tf.GradientTape() as tape:
            generator_loss = -ops.mean(self.critic(self.generator(self.noise(count))))
        weights = self.generator.trainable_weights
        grads = tape.gradient(generator_loss, weights)
        self.generator_optimizer.apply_gradients(zip(grads, weights))
        return {"critic_loss": critic_loss, "generator_loss": generator_loss}


def main(fit=keras.Model.fit):
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, 2048), rng.normal(1, 0.05, 2048)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype("float32")
    model = WGAN()
    model.compile(*(keras.optimizers.Adam(5e-3, beta_1=0.5, beta_2=0.9) for _ in range(2)))
    fit(model, points, None, batch_size=128, epochs=60, verbose=0)
    drawn = model.generator.predict(rng.normal(size=(1024, LATENT)).astype("float32"), verbose=0)
    return {"radius": float(np.linalg.norm(drawn, axis=1).mean())}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
