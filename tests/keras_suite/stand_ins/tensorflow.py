"""What trainer_test.py imports for the backend as which zoo_keras goes there."""

from stand_ins.trainers import Trainer as TensorFlowTrainer

__all__ = ["TensorFlowTrainer"]
