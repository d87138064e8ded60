"""A training script of your own, as it stands, but for the two lines marked below.

Run by hand it trains as ever: python own_script.py --batch-size 32 --learning-rate 0.05. A study runs it with each
trial's values.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from trainers.reporting import batchlaw_report  # 1


def main() -> None:
    """Train a small network on handwritten digits."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=400)
    given = parser.parse_args()

    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    held_out = torch.arange(len(labels)) % 5 == 0
    train_images, train_labels = images[~held_out], labels[~held_out]

    torch.manual_seed(given.seed)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=given.learning_rate)
    for step in range(1, given.steps + 1):
        chosen = torch.randint(len(train_labels), (given.batch_size,))
        loss = functional.cross_entropy(model(train_images[chosen]), train_labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0 or step == given.steps:
            with torch.no_grad():
                validation_loss = functional.cross_entropy(model(images[held_out]), labels[held_out])
            print(f"step {step}: {validation_loss:.4f}")
            batchlaw_report(step=step, loss=validation_loss)  # 2


if __name__ == "__main__":
    main()
