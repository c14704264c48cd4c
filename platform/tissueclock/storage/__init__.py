"""Where everything lies, and how it is written: folders, ledgers, whole files, strict tables, locks.

Knows no image, no network and no tracker.
"""
