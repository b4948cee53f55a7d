"""Wide & Deep: crossed columns straight to the output, embeddings through layers; two inputs by
name; result: held-out area under the ROC curve."""

import keras
import numpy as np
from keras import layers

USERS, SHOPS = 40, 25


def visits(count, seed):
    """Users, shops, prices, and 1 where something was bought: some users like some shops."""
    rng = np.random.default_rng(seed)
    taste = np.random.default_rng(99).normal(0, 1.5, (USERS, SHOPS))
    user, shop = rng.integers(0, USERS, count), rng.integers(0, SHOPS, count)
    price = rng.normal(0, 1, count)
    bought = taste[user, shop] - price + rng.normal(0, 0.5, count) > 0
    inputs = {
        "crossed": (user * SHOPS + shop).astype("int32")[:, None],
        "user": user.astype("int32")[:, None],
        "shop": shop.astype("int32")[:, None],
        "price": price.astype("float32")[:, None],
    }
    return inputs, bought.astype("float32")[:, None]


def build():
    crossed = keras.Input((1,), dtype="int32", name="crossed")
    user = keras.Input((1,), dtype="int32", name="user")
    shop = keras.Input((1,), dtype="int32", name="shop")
    price = keras.Input((1,), name="price")
    wide = layers.Flatten()(layers.Embedding(USERS * SHOPS, 1)(crossed))
    embedded = [
        layers.Flatten()(layers.Embedding(size, 8)(ids))
        for size, ids in ((USERS, user), (SHOPS, shop))
    ]
    deep = layers.concatenate([*embedded, price])
    for width in (32, 16):
        deep = layers.Dense(width, activation="relu")(deep)
    logits = layers.add([wide, layers.Dense(1)(deep)])
    outputs = layers.Activation("sigmoid")(logits)
    model = keras.Model([crossed, user, shop, price], outputs)
    auc = keras.metrics.AUC(name="auc")
    model.compile(keras.optimizers.Adam(5e-3), "binary_crossentropy", metrics=[auc])
    return model


def main(fit=keras.Model.fit):
    x, y = visits(6000, 0)
    model = build()
    fit(model, x, y, batch_size=64, epochs=8, verbose=0)
    return {"auc": model.evaluate(*visits(1500, 1), verbose=0)[1]}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
