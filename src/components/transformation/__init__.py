"""From sensor rows to features, and from features and laboratory values to a training table.

The features are one SQL statement that runs unchanged on PostgreSQL and DuckDB; there is no
second implementation.
"""
