"""Temporary tables that the steps of one run hand on to each other, all on one connection.

Their columns beside the keys and those of the ledger have a prefix that no column of a rig has.
"""

STOCK = "inbox_state"  # every phase of the inbox as `Inbox.states` found it
DUE_PHASES = "due_phases"  # the share of the due phases that one connection reads
DUE_ROWS = "due_rows"  # the rows of these phases, with the columns of the inbox
PURGE_PLAN = "purge_plan"  # phases past their retention time, in batches
PARTITION_PHASES = "partition_phases"  # the phases that have rows in one partition

N_ROWS = "impress_n_rows"  # rows of a phase in the inbox
FIRST_ROW = "impress_first_row"  # where they lie in the table
LAST_ROW = "impress_last_row"
SCORED_FROM = "impress_scored_from"  # valid rows that the newest prediction was made from
STATE = "impress_state"  # a `State`, or the `Reason` for which the rows are rejected
SHARE = "impress_share"  # which connection reads a due phase
BATCH_NUMBER = "impress_batch"  # which batch removes a phase's rows
OVERFLOWS = "impress_overflows"  # whether a phase has readings too large to compute with
PLACE = "impress_place"  # of a phase in the plan of a purge
N_HERE = "impress_n_here"  # rows of a phase in one partition
