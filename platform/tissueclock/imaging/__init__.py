"""Scanner files in, registered and normalised series out, each patient on his own, with a picture to judge them by.

Refuses to know cohorts, networks and Ray: what is written here is a BIDS folder or its derivatives, patient by patient.
"""
