"""Argument types that the examples' command lines share."""

from argparse import ArgumentTypeError


def at_least_one(text):
    """Parses a positive integer, as a type for argparse."""
    number = int(text)
    if number < 1:
        raise ArgumentTypeError(f"must be at least 1. Received: {text}")
    return number
