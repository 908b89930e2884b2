"""Weights of other programs, read without running anything in them."""
