"""MLflow follows the ledgers: study > sweep > trial runs, logged models, registered versions, artifacts.

Refuses to know Ray, Optuna, torch and how anything is trained; and nothing that goes wrong here reaches a sweep. MLflow
itself is imported at first use, in the follower's thread.
"""
