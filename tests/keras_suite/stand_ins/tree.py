"""Names of `keras.src.tree` that are not public."""

from zoo_keras.tree import register_tree_node_class

__all__ = ["register_tree_node_class"]
