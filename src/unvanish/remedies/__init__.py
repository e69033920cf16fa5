"""Remedies: what treats which finding, one file each, in the order of how far they go."""
