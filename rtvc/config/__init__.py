"""The user's files: presets, the settings of the last run, calibration and panel state."""
