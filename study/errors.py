"""The error a user of a study can cause and put right."""


class ConfigError(ValueError):
    """A study, or a place to store it, that can't be obeyed. One line: where, the rule, the value, a way out."""


def first_line(error: BaseException) -> str:
    """Return the first line of ``error``'s text, or its type where it says nothing."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
