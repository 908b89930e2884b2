"""The commands, one module each: SUMMARY, DESCRIPTION, EPILOG, USAGE, add_arguments, run.

They import what they need inside functions, so that ``--help`` is instant.
"""
