"""nanopilot: a car's eyes and judgement from cameras alone."""

__version__ = "0.1.0"
