"""Timing of steps, and counting of their operations."""
