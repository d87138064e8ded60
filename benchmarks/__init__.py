"""Measurements of what the README says about speed, each beside its alternative, as a ratio."""
