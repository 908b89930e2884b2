"""Fuzz test: opens damaged and hostile files, and checks what happens when they are read."""
