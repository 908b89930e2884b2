"""Parity is checked in full float32: no reduced-precision matrix products on GPUs."""

import os

os.environ["MLX_ENABLE_TF32"] = "0"  # read when MLX multiplies for the first time
