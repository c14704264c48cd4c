"""MLflow follows the ledgers: study > sweep > trial runs, logged models, registered versions, artifacts.

`follower` is the thread; `sweep_log` is what it reads, `run_facts` what a run is to hold, `sync` what brings the
tracker there, by `runs` and `registry`. Refuses to know Ray, Optuna, torch and how anything is trained; and nothing
that goes wrong here reaches a sweep. MLflow itself is imported at first use, in the follower's thread.
"""
