"""Operators of the networks, in one variant for GPUs and one for CPUs."""
