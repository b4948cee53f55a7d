"""The training loop: compile, data, steps, callbacks. Shared by one machine and by Spark."""
