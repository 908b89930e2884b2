"""The control panel: it holds a studio, shows its figures, and gives it settings."""
