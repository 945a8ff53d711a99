"""Everything that comes in from outside, checked at the border.

Data set folders, sensor files for the inbox, laboratory values, late labels, and data from DVC.
"""
