"""Names of `keras.src.trainers` that zoo_keras keeps elsewhere."""
