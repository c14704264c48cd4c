"""Ray Tune and Optuna: one sweep from its ledger to its promoted checkpoints.

Knows no phase by name, no network and no tracker: a phase is a trainable and a space that it is handed.
"""
