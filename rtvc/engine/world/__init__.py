"""The built-in voice: WORLD analysis, effects and synthesis (Morise et al., 2016)."""
