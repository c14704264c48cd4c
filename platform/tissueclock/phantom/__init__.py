"""A cohort made, not measured: brains on the ICBM152 tissue maps, strokes with a known age, and the truth beside them.

No public data set has onset times, so this one has to stand in; what it assumes is
said where it is assumed, and `describe` shows what came out.
"""
