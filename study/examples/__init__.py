"""What a user brings, as examples that run: a workload of their own and a training script of their own."""
