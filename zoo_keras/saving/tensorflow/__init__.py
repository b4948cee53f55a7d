"""Files of TensorFlow: SavedModels and frozen graphs, read without it."""
