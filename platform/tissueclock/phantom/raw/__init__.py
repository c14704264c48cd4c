"""The phantom's patients as a scanner gives them: whole heads, tilted, in thick slices, uneven and noisy, as BIDS.

Refuses to know the packed cohort and the pipeline that leads there: it makes what that pipeline reads, and keeps the
truth that it is measured with.
"""
