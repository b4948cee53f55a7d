"""The names of Analytics Zoo's NNFrames, over zoo_keras.spark.ml and Keras.

Programs that were written for them run with `from zoo_keras.nnframes import *` in place of their
imports; model files are Keras'. Labels count from 1 here, as there. See docs/nnframes.md.
"""

from typing import NoReturn

from zoo_keras.errors import UnsupportedError
from zoo_keras.nnframes.estimators import (
    NNClassifier,
    NNEstimator,
    TrainSummary,
    ValidationSummary,
)
from zoo_keras.nnframes.images import (
    ImageAspectScale,
    ImageBrightness,
    ImageBytesToMat,
    ImageCenterCrop,
    ImageChannelNormalize,
    ImageChannelOrder,
    ImageColorJitter,
    ImageContrast,
    ImageExpand,
    ImageFeatureToTensor,
    ImageFiller,
    ImageFixedCrop,
    ImageHFlip,
    ImageHue,
    ImageMatToTensor,
    ImageMirror,
    ImageRandomCrop,
    ImageRandomPreprocessing,
    ImageResize,
    ImageSaturation,
    ImageSetToSample,
    PerImageNormalize,
    RowToImageFeature,
)
from zoo_keras.nnframes.models import NNClassifierModel, NNModel
from zoo_keras.nnframes.preprocessing import (
    ArrayToTensor,
    ChainedPreprocessing,
    FeatureLabelPreprocessing,
    MLlibVectorToTensor,
    Preprocessing,
    ScalarToTensor,
    SeqToMultipleTensors,
    SeqToTensor,
    TensorToSample,
    ToTuple,
)
from zoo_keras.nnframes.reader import NNImageReader, init_nncontext
from zoo_keras.nnframes.torch_names import (
    AUC,
    MAE,
    MSE,
    SGD,
    AbsCriterion,
    Accuracy,
    Adagrad,
    Adam,
    BCECriterion,
    ClassNLLCriterion,
    CrossEntropyCriterion,
    Dropout,
    Linear,
    LogSoftMax,
    Loss,
    Model,
    MSECriterion,
    ReLU,
    Reshape,
    RMSprop,
    Sequential,
    Sigmoid,
    SmoothL1Criterion,
    SoftMax,
    Tanh,
    Top1Accuracy,
    Top5Accuracy,
)
from zoo_keras.nnframes.triggers import (
    EveryEpoch,
    MaxEpoch,
    MaxIteration,
    MaxScore,
    MinLoss,
    SeveralIteration,
    TriggerAnd,
    TriggerOr,
)

__all__ = [
    # a session and images
    "init_nncontext",
    "NNImageReader",
    # stages
    "NNClassifier",
    "NNClassifierModel",
    "NNEstimator",
    "NNModel",
    # steps
    "ArrayToTensor",
    "ChainedPreprocessing",
    "FeatureLabelPreprocessing",
    "ImageAspectScale",
    "ImageBrightness",
    "ImageBytesToMat",
    "ImageCenterCrop",
    "ImageChannelNormalize",
    "ImageChannelOrder",
    "ImageColorJitter",
    "ImageContrast",
    "ImageExpand",
    "ImageFeatureToTensor",
    "ImageFiller",
    "ImageFixedCrop",
    "ImageHFlip",
    "ImageHue",
    "ImageMatToTensor",
    "ImageMirror",
    "ImageRandomCrop",
    "ImageRandomPreprocessing",
    "ImageResize",
    "ImageSaturation",
    "ImageSetToSample",
    "MLlibVectorToTensor",
    "PerImageNormalize",
    "Preprocessing",
    "RowToImageFeature",
    "ScalarToTensor",
    "SeqToMultipleTensors",
    "SeqToTensor",
    "TensorToSample",
    "ToTuple",
    # triggers
    "EveryEpoch",
    "MaxEpoch",
    "MaxIteration",
    "MaxScore",
    "MinLoss",
    "SeveralIteration",
    "TriggerAnd",
    "TriggerOr",
    # Torch-style models, criterions, optimizers, metrics
    "Dropout",
    "Linear",
    "LogSoftMax",
    "Model",
    "ReLU",
    "Reshape",
    "Sequential",
    "Sigmoid",
    "SoftMax",
    "Tanh",
    "AbsCriterion",
    "BCECriterion",
    "ClassNLLCriterion",
    "CrossEntropyCriterion",
    "MSECriterion",
    "SmoothL1Criterion",
    "Adagrad",
    "Adam",
    "RMSprop",
    "SGD",
    "AUC",
    "Accuracy",
    "Loss",
    "MAE",
    "MSE",
    "Top1Accuracy",
    "Top5Accuracy",
    "TrainSummary",
    "ValidationSummary",
]

_INSTEAD = {
    "ImagePixelBytesToMat": "a column of arrays, reshaped by ArrayToTensor",
    "ImagePixelNormalize": "a Keras layer in front of the net that takes the means away",
    "ImageRandomAspectScale": "ImageAspectScale, or Keras' RandomZoom in front of the net",
    "Net": "Model.loadModel(path), of a Keras file",
    "NNXGBClassifier": "xgboost's own stages for Spark",
    "NNXGBRegressor": "xgboost's own stages for Spark",
}


class MissingNameError(UnsupportedError, AttributeError):
    """A name of Analytics Zoo that is not here."""


def __getattr__(name: str) -> NoReturn:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise MissingNameError(
        f"{__name__} has no {name!r}. Received: {__name__}.{name}. Use "
        f"{_INSTEAD.get(name, 'Keras layers, losses and optimizers, which stages here take, too')}."
    )
