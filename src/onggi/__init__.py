"""onggi: a container engine. Nothing heavy is imported here: every container's monitor loads it."""

__version__ = "0.1.0"
