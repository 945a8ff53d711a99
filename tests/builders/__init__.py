"""Builders of test data: plants, months, training tables. Benchmarks use them too."""
