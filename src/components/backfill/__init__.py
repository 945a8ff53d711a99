"""Years of history from files: surveyed, cut into units of whole experiments, and each unit scored
by the features and the model of the weekly task, on this machine or on a Spark cluster."""
