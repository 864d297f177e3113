"""Images whose light is known."""

import numpy as np


def disk(radius, x=0, y=0, side=64):
    """A disk of ones, so many pixels from the middle of a square of zeros."""
    row, column = np.indices((side, side)) - (side - 1) / 2
    return (np.hypot(column - x, row - y) < radius).astype(float)
