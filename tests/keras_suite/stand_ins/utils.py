"""Names of `keras.src.utils` that zoo_keras keeps elsewhere."""

from zoo_keras.naming import auto_name, to_snake_case

__all__ = ["auto_name", "to_snake_case"]
