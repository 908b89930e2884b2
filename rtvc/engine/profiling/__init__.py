"""Timing and counting the steps of a voice."""
