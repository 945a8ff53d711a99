"""Is a sensor failing, and is the model still right?

A month of predictions against the reference: statistical tests, one verdict, its findings in
words, and the report with its pictures.
"""
