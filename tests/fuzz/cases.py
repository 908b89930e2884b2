"""Test cases by kind, seed and number: the same file on every machine and in every run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.fuzz.hostile import HOSTILE
from tests.fuzz.mutators import mutated
from tests.fuzz.seeds import SEEDS, Seed

KINDS = tuple(SEEDS)
READERS = ("voice", "content", "rmvpe", "fcpe")
_LARGE = 2**18
_LARGE_SHARE = 0.04


@dataclass(frozen=True)
class Case:
    """A file, the reader to open it with, and a name that describes its origin."""

    name: str
    reader: str
    content: bytes


def case(kind: str, seed: int, number: int) -> Case:
    """Return case `number`.

    The first cases are the seeds, then the hostile files, then mutations of both.
    """
    plain, hostile = SEEDS[kind](), HOSTILE[kind]()
    fixed = plain + hostile
    if number < len(fixed):
        return Case(fixed[number].name, fixed[number].reader, fixed[number].content)
    rng = random.Random(f"{kind} {seed} {number}")
    # A large file has the same structure as a small one, but takes a hundred times as long.
    large = rng.random() < _LARGE_SHARE
    pool: Sequence[Seed] = plain if rng.random() < 0.85 else hostile
    pool = [s for s in pool if (len(s.content) > _LARGE) == large] or list(plain)
    chosen, other = rng.choice(pool), rng.choice(pool)
    mutations, content = mutated(chosen.content, rng, other.content)
    reader = chosen.reader
    if kind == "checkpoints" and rng.random() < 0.1:
        reader = rng.choice(READERS)
    return Case(f"{chosen.name}: {mutations}", reader, content)
