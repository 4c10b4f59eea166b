"""Runs the command, `python -m keras_calib evaluate predictions.parquet ...`."""

import sys

from keras_calib.command.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
