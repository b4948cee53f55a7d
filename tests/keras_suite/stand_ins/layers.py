"""Names of `keras.src.layers` that zoo_keras keeps elsewhere."""
