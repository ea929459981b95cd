"""ghostgo: self-play with and without human games, rated against what each of them cost."""

__version__ = "0.1.0"
