"""The version, for modules that the package itself must not be imported for."""

__version__ = "0.1.0"
