"""Values computed by real Keras 3, the tables they come from and the script that made them.

`cases/` holds plain tables, `make.py` turns them into `data/` with real Keras (see its
docstring), `reader.py` is what the tests use. Nothing but `make*.py` may import keras.
"""
