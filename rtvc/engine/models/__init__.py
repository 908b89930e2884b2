"""The networks in MLX, one module each."""
