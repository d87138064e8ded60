"""Measurements of gradients and curvature inside a training run, which they leave bit for bit as it was."""
