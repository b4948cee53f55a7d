"""Nets of Caffe: a prototxt and its caffemodel, read without it."""
