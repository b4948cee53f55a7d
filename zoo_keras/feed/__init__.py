"""The feed: from records of any kind to batches of numbers, the same everywhere they are read."""
