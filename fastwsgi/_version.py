"""The version of fastwsgi; the only place that spells it."""

__version__ = "0.1.0"
