"""The two errors that a user of the trainers can cause and put right.

Both carry one line: the rule, the values that broke it and a way out. Any other exception is a bug of ours.
"""


class SettingsError(ValueError):
    """A setting that can't be obeyed; raised before anything is trained."""


class DataError(RuntimeError):
    """A data set that can't be had or read here: no client, no network, a wrong checksum, an unexpected content."""
