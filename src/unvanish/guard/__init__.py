"""Policies that act on a running training, each off until asked for."""
