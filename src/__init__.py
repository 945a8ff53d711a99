"""IMPRESS: a soft sensor for washing and rinsing water, and its batch life."""

__version__ = "0.4.0"
