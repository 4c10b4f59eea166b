"""The model that `calibrate` returns."""

import keras

from keras_calib.arguments import saveable
from keras_calib.calibrators.report import CalibrationReport


@saveable
class CalibratedModel(keras.Model):
    """A functional model whose last layer is a calibrator."""

    @property
    def calibration_report(self) -> CalibrationReport | None:
        """The report of the calibrator."""
        report: CalibrationReport | None = self.layers[-1].report
        return report
