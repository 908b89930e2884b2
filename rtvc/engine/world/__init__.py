"""The built-in voice: WORLD analysis, effects and synthesis."""
