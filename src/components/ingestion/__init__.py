"""Everything that comes in from outside, checked on the way in.

Data set folders, sensor files for the inbox, laboratory values, late labels, and data from DVC.
"""
