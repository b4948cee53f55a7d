"""Models in the ONNX format -> functional models of zoo_keras."""
