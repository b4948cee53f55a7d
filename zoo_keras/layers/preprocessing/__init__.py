"""Layers that turn words, categories and images into numbers, as keras.layers has them."""
