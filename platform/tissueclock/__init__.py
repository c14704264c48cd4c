"""Sweeps multi-phase transfer learning that tells from brain MRI how long ago an ischemic stroke began."""

__version__ = "0.2.0"
