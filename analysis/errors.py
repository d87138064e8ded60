"""The error that a user's table can cause and the user can put right."""


class TableError(ValueError):
    """A table that can't be used. One line: the rule, the values found, a way out."""
