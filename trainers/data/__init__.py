"""trainers/data."""
