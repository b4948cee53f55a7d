"""Names of `keras.src.models` that zoo_keras keeps elsewhere."""
