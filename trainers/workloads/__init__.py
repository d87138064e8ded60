"""trainers/workloads."""
