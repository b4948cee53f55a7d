"""Files of torch: state dicts of nets that torchvision has, read without it."""
