"""How long steps take on this machine, and the sizes that follow from it."""
