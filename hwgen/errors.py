"""The one exception for what a user can get wrong."""


class HwgenError(Exception):
    """Bad input or environment.  The message says what is wrong, where, and what to do."""
