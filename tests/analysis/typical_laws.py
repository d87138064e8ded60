"""One set of parameters for every law, with its bends inside the batch sizes that tests use."""

TYPICAL = {
    "constant": [0.1],
    "sqrt": [0.01],
    "linear": [0.001],
    "power": [0.01, 0.3],
    "saturating": [0.5, 150.0],
    "half_power": [0.5, 150.0],
    "surge_small_batch": [0.3, 100.0],
    "surge": [0.3, 0.5, 400.0],
    "adam_ema": [0.02, 900.0, 0.95],
}
