"""Case number N of a kind and a seed: the same file on every machine and in every run."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.fuzz.hostile import HOSTILE
from tests.fuzz.mutators import mutated
from tests.fuzz.seeds import SEEDS

KINDS = tuple(SEEDS)
READERS = ("voice", "content", "rmvpe", "fcpe")
_LARGE = 2**18
_LARGE_SHARE = 0.04


@dataclass(frozen=True)
class Case:
    """One file and the reader that gets it; the name says how it was made."""

    name: str
    reader: str
    content: bytes


def case(kind: str, seed: int, number: int) -> Case:
    """Return a case.

    The first are the seeds as they are, then the files made by hand, then mutations of both.
    """
    plain, hostile = SEEDS[kind](), HOSTILE[kind]()
    fixed = plain + hostile
    if number < len(fixed):
        return Case(fixed[number].name, fixed[number].reader, fixed[number].content)
    dice = random.Random(f"{kind} {seed} {number}")
    # A large file takes a hundred times as long as a small one, and has the same structure.
    large = dice.random() < _LARGE_SHARE
    pool = plain if dice.random() < 0.85 else hostile
    pool = [s for s in pool if (len(s.content) > _LARGE) == large] or list(plain)
    chosen, other = dice.choice(pool), dice.choice(pool)
    ways, content = mutated(chosen.content, dice, other.content)
    reader = chosen.reader
    if kind == "checkpoints" and dice.random() < 0.1:
        reader = dice.choice(READERS)
    return Case(f"{chosen.name}: {ways}", reader, content)
