"""The weekly letter: after a prediction, what the page of the week says, sent to people at most once
a week.
"""
