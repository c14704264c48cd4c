"""Patients in, packed hemispheres out: manifest, split, store, augmentation and a phantom to practise on.

Refuses to know networks, phases, sweeps and trackers: a hemisphere has facts here, what is learned from them is decided
elsewhere.
"""
