"""Names of `keras.src.saving` that zoo_keras keeps elsewhere."""
