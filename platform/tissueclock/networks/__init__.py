"""What maps a hemisphere to one logit, or back to itself: trunks, attention gate, slice pooling, first weights.

Refuses to know patients, labels, losses, optimisers and files.
"""
