"""Temporary tables that the steps of one run hand on to each other, all on one connection."""

STOCK = "inbox_state"  # every phase of the inbox as `Inbox.states` found it
DUE_PHASES = "due_phases"  # the share of the due phases that one connection reads
DUE_ROWS = "due_rows"  # the rows of these phases, with the columns of the inbox
PURGE_PLAN = "purge_plan"  # phases past their retention time, in batches

OVERFLOWS = "impress_overflows"  # whether a phase has readings too large to compute with
PLACE = "impress_place"  # of a phase in the plan of a purge
