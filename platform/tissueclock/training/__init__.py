"""A trial of a phase, and the ways to run one: alone, under Ray Tune, on several devices; what it costs and scores.

Knows no phase by name: `trainables` holds them.
"""
