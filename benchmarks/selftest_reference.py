"""Writes the reference numbers of the self-test: ``python -m benchmarks.selftest_reference``.

The cases run on the CPU in float64, with the operators of the CPU, which are matrix products.
Only what networks compute in float32 whatever the precision of their weights (spectra, f0,
excitation, the last convolution of a vocoder) is float32 here too.
"""

import mlx.core as mx
import numpy as np

from rtvc.engine.models.ops import ops
from rtvc.engine.models.ops.backend import Compute
from rtvc.engine.selftest.numbers import fold
from rtvc.engine.selftest.run import CASES, REFERENCE


def reference_numbers() -> dict[str, np.ndarray]:
    ops.use(Compute("cpu", "cpu", "float64"))
    mx.disable_compile()
    return {
        case.name: fold(np.array(case.compute().astype(mx.float64))).astype(np.float32)
        for case in CASES
    }


if __name__ == "__main__":
    numbers = reference_numbers()
    np.savez_compressed(
        REFERENCE,
        names=np.array(list(numbers)),
        sizes=np.array([part.size for part in numbers.values()], np.int16),
        numbers=np.concatenate(list(numbers.values())),
    )
    print(f"{REFERENCE}: {REFERENCE.stat().st_size} bytes, {len(CASES)} cases")
