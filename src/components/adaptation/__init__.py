"""A soft sensor that stays right between trainings.

Laboratory values of phases that were predicted show how far the model is off. From them, and from
nothing that is stored besides, `replay` computes the bias and the width of its intervals as of any
date.
"""
