"""Passes: each takes a Graph and gives a Graph that computes the same with less work."""
