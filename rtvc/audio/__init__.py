"""Audio input and output: live devices, sound files and a simulated device."""
