"""Operating system and hardware: thread priority, memory, BLAS, energy, versions."""
