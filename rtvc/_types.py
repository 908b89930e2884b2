"""Array types that several packages name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
"""Signals: (samples,) or (frames, channels) in [-1, 1]; also features and weights."""

Float64 = NDArray[np.float64]
"""Parameters that are accumulated or need the precision: f0 in Hz, phases, filter states."""

AnyArray = NDArray[Any]
"""Arrays as they stand in a file, before their type is checked."""

Weights = Mapping[str, Float32]
"""Weights of a network by their PyTorch names, in PyTorch's layout."""

Tensors = Mapping[str, AnyArray]
"""What a file of weights holds by name, before types and shapes are checked."""
