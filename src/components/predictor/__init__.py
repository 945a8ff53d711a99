"""From features to an answer.

The model bundle with its ensemble, prediction intervals, quality flags and verdicts, and
`score`, which turns a table of features into rows of the ledger.
"""
