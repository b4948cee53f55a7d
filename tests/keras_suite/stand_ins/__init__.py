"""What stands for modules of Keras that have no public counterpart in zoo_keras."""
