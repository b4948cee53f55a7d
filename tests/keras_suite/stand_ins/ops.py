"""Names of `keras.src.ops` that zoo_keras keeps elsewhere."""
