"""The deflection of a beam from its loads and its material: a vector beside a field, by the closed formula."""

import numpy as np
import torch

from hadnas.train.data.columns import HeldInputs, InputColumn
from hadnas.train.data.images import Source
from hadnas.train.data.reader import reader

LOADED_POINTS = 16
"""Points of the beam that may be loaded, at the middles of equal parts of its length."""

PLACES = (0.25, 0.5, 0.75)
"""Where the deflection is measured, as shares of the length."""

BEAMS = {"train": 6000, "val": 2000, "test": 2000}

LOAD = 10.0
"""The largest load of a node, up or down, in kN."""

MATERIAL = {"modulus": (10.0, 30.0), "width": (0.1, 0.2), "height": (0.2, 0.4), "length": (3.0, 6.0)}
"""Least and largest Young's modulus in GPa, width and height of the section and length of the beam in m."""


@reader("'beam'", takes=lambda source: source == "beam", named=True)
def read_beam(source: str) -> Source:
    """The loads of the nodes (`loads`, a map of 1 x 1 x 16) and the material (`material`, a vector of 4).

    Targets are the deflections in mm, downwards, at a quarter, half and three quarters of the length.
    """
    generator = np.random.default_rng(0)
    low, high = np.array(list(MATERIAL.values())).T
    parts = {}
    for part, count in BEAMS.items():
        loads = generator.uniform(-LOAD, LOAD, size=(count, LOADED_POINTS))
        material = generator.uniform(low, high, size=(count, len(MATERIAL)))
        values = [("loads", loads[:, None, None]), ("material", material)]
        columns = [InputColumn(name, torch.from_numpy(own), torch.arange(count)) for name, own in values]
        parts[part] = HeldInputs(columns, torch.from_numpy(deflections(loads, material).astype(np.float32)))
    names = tuple(f"deflection at {place:g}" for place in PLACES)
    return Source(1.0, names, parts["train"], parts["val"], parts["test"], target="values")


def deflections(loads: np.ndarray, material: np.ndarray) -> np.ndarray:
    """Deflections (N, 3) in mm of simply supported beams, the sum over their loads (N, 16) in kN.

    A load P at a from the left support bends a beam of length L, at x <= a and with b = L - a, by
    P b x (L^2 - b^2 - x^2) / (6 L E I); at x > a it is mirrored. I = width height^3 / 12. Source: the formula of
    Euler and Bernoulli, as in any table of beams.
    """
    modulus, width, height, length = material.T
    stiffness = modulus * 1e6 * width * height**3 / 12  # kN m^2
    a, x = (np.arange(LOADED_POINTS) + 0.5) / LOADED_POINTS, np.array(PLACES)[:, None]
    near, rest = np.where(x <= a, x, 1 - x), np.where(x <= a, 1 - a, a)
    shape = rest * near * (1 - rest**2 - near**2) / 6  # for a unit length, load and stiffness: (3, 16)
    found: np.ndarray = 1000 * (length**3 / stiffness)[:, None] * (loads @ shape.T)
    return found
