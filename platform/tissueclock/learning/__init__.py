"""How a network learns from a cohort: freezing, optimiser, the loop over epochs, metrics, checkpoints.

Refuses to know Ray, MLflow, phases and studies.
"""
