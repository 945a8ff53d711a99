"""From waiting sensor rows to the ledger.

One run at a time holds the inbox. On one snapshot it takes stock of every phase, scores what is
due, sets aside what cannot be scored, and commits all of it at once; afterwards rows past their
retention time are removed.
"""
