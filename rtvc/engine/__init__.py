"""The streaming engine: converts input audio block by block."""

from rtvc.system.mlx_environment import set_mlx_environment

set_mlx_environment()  # before any module of this package imports MLX
