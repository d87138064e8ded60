"""The two errors that a user of the trainers can cause and put right, and how errors of others are quoted.

Both carry one line: the rule, the values that broke it and a way out. Any other exception is a bug of ours.
"""


class SettingsError(ValueError):
    """A setting that can't be obeyed; raised before anything is trained."""


class DataError(RuntimeError):
    """A data set that can't be had or read here: no client, no network, a wrong checksum, an unexpected content."""


def first_line(error: BaseException) -> str:
    """Return the first line of ``error``'s text, or its type where it says nothing."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
