"""What a finished study is worth: holdout scores with their intervals, the observers beside them, figures, report.

Reads frozen files (ledgers, promoted checkpoints' scores, the cohort's tables) and writes a report. Refuses to know how
a trial was trained, scheduled or tracked, and loads no weights.
"""
