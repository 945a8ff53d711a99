"""Is a sensor failing, and is the model still right?

The evidence on a month of predictions is gathered, tested and judged; the verdict is put into
words, and written as a report. Each drift indicator, check and loss is one entry in the table of
its kind.
"""
