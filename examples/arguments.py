"""What the examples' command lines share."""

from argparse import ArgumentTypeError


def at_least_one(text):
    """Reads a whole number from 1 on: a type of argparse."""
    number = int(text)
    if number < 1:
        raise ArgumentTypeError(f"must be at least 1. Received: {text}")
    return number
