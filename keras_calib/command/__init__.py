"""The command `python -m keras_calib`: measures predictions in files, and reports."""
