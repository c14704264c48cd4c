"""Scanner files in, registered and normalised series out, one patient at a time, with a picture to judge each by.

Refuses to know cohorts, networks and Ray: what is written here is a BIDS folder or its derivatives, patient by patient.
"""
