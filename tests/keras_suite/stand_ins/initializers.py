"""Names of `keras.src.initializers` that zoo_keras keeps elsewhere."""
