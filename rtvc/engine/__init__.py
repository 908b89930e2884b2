"""The streaming engine: converts input audio block by block."""
