"""The command `python -m keras_calib`: what files hold, measured, as a report."""
