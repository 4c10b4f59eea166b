"""The names of the calibrators in `calibrate`."""

from typing import Literal

from keras_calib.calibrators.base import Calibrator
from keras_calib.calibrators.beta import BetaCalibration
from keras_calib.calibrators.ensemble import EnsembleTemperatureScaling
from keras_calib.calibrators.histogram import HistogramBinning
from keras_calib.calibrators.isotonic import IsotonicCalibration
from keras_calib.calibrators.linear import (
    DirichletCalibration,
    MatrixScaling,
    VectorScaling,
)
from keras_calib.calibrators.noise import NoiseCorrection
from keras_calib.calibrators.platt import PlattScaling
from keras_calib.calibrators.quadratic import QuadraticScaling
from keras_calib.calibrators.structured import (
    StructuredMatrixScaling,
    StructuredVectorScaling,
)
from keras_calib.calibrators.temperature import TemperatureScaling

METHODS: dict[str, type[Calibrator]] = {
    "temperature": TemperatureScaling,
    "ensemble_temperature": EnsembleTemperatureScaling,
    "structured_vector": StructuredVectorScaling,
    "structured_matrix": StructuredMatrixScaling,
    "vector": VectorScaling,
    "matrix": MatrixScaling,
    "dirichlet": DirichletCalibration,
    "platt": PlattScaling,
    "quadratic": QuadraticScaling,
    "beta": BetaCalibration,
    "isotonic": IsotonicCalibration,
    "histogram": HistogramBinning,
    "noise": NoiseCorrection,
}

Method = Literal[
    "temperature",
    "ensemble_temperature",
    "structured_vector",
    "structured_matrix",
    "vector",
    "matrix",
    "dirichlet",
    "platt",
    "quadratic",
    "beta",
    "isotonic",
    "histogram",
    "noise",
    "auto",
]

# With more classes than this, method="auto" does not try a full matrix.
_MANY_CLASSES = 30
_FULL_MATRICES = (MatrixScaling, StructuredMatrixScaling)


def candidates(num_classes: int) -> dict[str, type[Calibrator]]:
    """Returns the methods that method="auto" tries."""
    return {
        name: cls
        for name, cls in METHODS.items()
        if num_classes <= _MANY_CLASSES or not issubclass(cls, _FULL_MATRICES)
    }
