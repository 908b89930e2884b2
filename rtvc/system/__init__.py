"""The operating system and the machine: threads, memory, BLAS, energy."""
