"""What every layer is: its weights, its calls, and how a call becomes part of a model."""
