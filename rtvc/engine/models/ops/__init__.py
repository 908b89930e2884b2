"""Operators of the networks, for GPUs and for CPUs."""
