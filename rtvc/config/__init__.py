"""Files that rtvc keeps: presets, settings of the last run, calibration, panel state."""
