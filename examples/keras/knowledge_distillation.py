"""A small student learns from a larger teacher's soft answers as well as from labels, by a
compute_loss of its own; result: accuracy of both."""

import keras
from keras import layers, ops
from made_data import digits

TEMPERATURE = 4.0


def classifier(filters, name):
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(2 * filters, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ],
        name=name,
    )


class Distiller(keras.Model):
    def __init__(self, student, teacher, alpha=0.2, **kwargs):
        super().__init__(**kwargs)
        self.student, self.teacher, self.alpha = student, teacher, alpha
        self.teacher.trainable = False

    def call(self, inputs):
        return self.student(inputs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        soft = ops.softmax(self.teacher(x) / TEMPERATURE)
        answered = ops.softmax(y_pred / TEMPERATURE)
        hard = ops.mean(keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True))
        near = ops.mean(keras.losses.kl_divergence(soft, answered)) * TEMPERATURE**2
        return self.alpha * hard + (1 - self.alpha) * near


def main(fit=keras.Model.fit):
    x, y, test_x, test_y = digits()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    teacher = classifier(32, "teacher")
    teacher.compile("adam", loss, metrics=["accuracy"])
    fit(teacher, x, y, batch_size=32, epochs=12, verbose=0)
    taught = teacher.evaluate(test_x, test_y, verbose=0)[1]

    model = Distiller(classifier(4, "student"), teacher)
    model.compile(keras.optimizers.Adam(3e-3))
    fit(model, x, y, batch_size=32, epochs=15, verbose=0)
    guess = model.student.predict(test_x, verbose=0).argmax(1)
    return {"teacher": taught, "student": float((guess == test_y).mean())}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
