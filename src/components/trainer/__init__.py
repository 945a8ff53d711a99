"""From a training table to a model that is worth promoting.

Hyperparameter search, fitting, evaluation, explanation, the model card and the promotion gate;
and what to invest in next: which sensors, which laboratory samples.
"""
