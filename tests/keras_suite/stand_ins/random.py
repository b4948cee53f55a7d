"""Names of `keras.src.random` that zoo_keras keeps elsewhere."""
