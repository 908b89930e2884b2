"""The networks, one a file, in MLX."""
