"""The error a user of a study can cause and put right."""

from trainers.errors import first_line

__all__ = ["ConfigError", "first_line"]


class ConfigError(ValueError):
    """A study, or a place to store it, that can't be obeyed. One line: where, the rule, the value, a way out."""
