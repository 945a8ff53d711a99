"""The letter of the week: what its page says, mailed after a prediction, at most once a week."""
