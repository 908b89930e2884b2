"""Chains that take over continue with what they are fed, and output nothing from before."""

from __future__ import annotations

import numpy as np
import pytest

from rtvc.engine.catch_up import render_last, skip_blocks
from rtvc.engine.chain import Chain
from rtvc.settings import Settings
from tests.support.voices import SilentVoice

DRY = Settings(gate=-90.0, latency="constant", mode="dry")
CONVERTED = DRY.replace(mode="converted")


@pytest.mark.parametrize("blocks", [0, 1, 2])
@pytest.mark.parametrize("rendered", [False, True])
def test_a_chain_that_was_built_in_the_mode_dry_outputs_nothing_of_it(
    blocks: int, rendered: bool
) -> None:
    """As just after a device was lost, when there is hardly any input to feed it."""
    chain = Chain(SilentVoice(lookahead=0), DRY)
    noise = np.random.default_rng(0).standard_normal((blocks + 1, chain.block))
    *before, block = np.asarray(0.1 * noise, np.float32)
    if rendered:
        assert not render_last(chain, before, CONVERTED).any()
    else:
        skip_blocks(chain, before, CONVERTED)
    assert not chain.step(block, CONVERTED).output.any()


def test_a_chain_that_continues_keeps_what_it_has_had() -> None:
    one, other = (Chain(SilentVoice(), DRY) for _ in range(2))
    noise = np.random.default_rng(0).standard_normal((3, one.block))
    blocks = list(np.asarray(0.1 * noise, np.float32))
    whole = render_last(one, blocks, DRY)
    render_last(other, blocks[:2], DRY)
    apart = render_last(other, blocks[2:], DRY, continues=True)
    np.testing.assert_allclose(apart[2400:], whole[2400:], atol=1e-6)
    assert whole.any()
