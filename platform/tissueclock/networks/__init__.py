"""What maps a hemisphere to one logit: trunk, attention gate, slice pooling, and where first weights come from.

Refuses to know patients, labels, losses, optimisers and files.
"""
