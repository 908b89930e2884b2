"""Array types used across the packages."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
"""Signals, (samples,) or (frames, channels) in [-1, 1]; features; weights."""

Float64 = NDArray[np.float64]
"""Values that are accumulated or need the precision: f0 in Hz, phases, filter states."""

AnyArray = NDArray[Any]
"""Arrays as read from a file, before their type is checked."""

Weights = Mapping[str, Float32]
"""Weights of a network by PyTorch name, in PyTorch's layout."""

Tensors = Mapping[str, AnyArray]
"""Tensors of a weights file by name, before types and shapes are checked."""
