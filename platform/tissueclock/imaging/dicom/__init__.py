"""A folder of DICOM in, a BIDS folder without names out.

dcm2niix converts; ours is telling what each series is, choosing, and leaving everything behind that names a person.
"""
