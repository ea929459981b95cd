"""The one exception that means: the input is wrong, and this sentence says how."""


class UserError(ValueError):
    """Bad input. The message is one line: the input, what is wrong with it, what would be right.

    The command line prints it without a traceback and exits with code 2.
    """
