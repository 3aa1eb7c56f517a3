"""Trajectories as one page that a person reads."""
