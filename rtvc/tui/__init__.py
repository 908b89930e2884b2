"""The control panel: shows the statistics of a live run and changes its settings."""
