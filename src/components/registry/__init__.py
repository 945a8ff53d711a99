"""Models in MLflow.

The registered versions, which of them is Production and how that came about, the bundle as
files, and the verified cache that serves while the registry is down.
"""
