"""Readers of weights files from other programs; none of them runs code from a file."""
