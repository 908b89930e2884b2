"""The comparison with other programs: arguments, order, ratios and the protocol of the workers."""

import json
import sys
import time
import zipfile
from itertools import permutations
from pathlib import Path

import pytest

from benchmarks import side_by_side
from benchmarks.rivals import Rival, missing_import
from benchmarks.step_table import ROWS, ratios, table, turns
from benchmarks.torch_worker import StageTimer

NAMES = ["rtvc", "reference", "rvc-next"]


@pytest.mark.parametrize("names", [NAMES, NAMES[:2]])
def test_each_program_is_at_each_place_and_before_each_other_one_equally_often(names):
    rounds = [turns(names, number) for number in range(2 * len(names))]
    for name in names:
        places = [order.index(name) for order in rounds]
        assert all(places.count(place) == 2 for place in range(len(names)))
    for first, second in permutations(names, 2):
        before = sum(order.index(first) < order.index(second) for order in rounds)
        assert before == len(names)


def test_a_ratio_is_that_within_the_rounds():
    # The machine is four times slower in the second round: ratios of medians would show it.
    rounds = [
        {"rtvc": {"total": own * slow}, "reference": {"total": 2.0 * slow}}
        for own, slow in ((1.0, 1.0), (1.1, 4.0), (1.2, 1.0))
    ]
    assert ratios(rounds, "reference", "total") == pytest.approx((0.525, 0.55, 0.575))


def test_the_table_has_a_column_for_each_rival_and_leaves_out_what_was_not_measured():
    rows = dict.fromkeys(ROWS, 0.2)
    of_rival = {**rows, "around": 0.004}
    del of_rival["flow"]
    report = {
        "settings": {
            **{"voice": "v2-40k", "block": 250.0, "context": 500.0, "content": "window"},
            "threads": 2,
        },
        "rivals": {"reference": {"commit": "4338f12"}, "rvc-next": {"rvc-next": "0.2.16"}},
        "load": 0.5,
        "rounds": [
            {"rtvc": dict.fromkeys(ROWS, 0.1), "reference": rows, "rvc-next": of_rival},
            {"rtvc": dict.fromkeys(ROWS, 0.3), "reference": rows, "rvc-next": of_rival},
        ],
    }
    head, *lines = table(report).splitlines()
    assert "2 threads, 2 rounds" in head
    assert "reference (commit 4338f12); rvc-next (rvc-next 0.2.16)" in head
    cells = {line.split(" | ")[0].lstrip("| "): line.split(" | ") for line in lines if "|" in line}
    assert set(ROWS) <= set(cells)
    assert cells["total"][1:] == [
        *("200.0 (100.0)", "200.0 (200.0)", "1.00 (0.75 to 1.25)", "200.0 (200.0)"),
        "1.00 (0.75 to 1.25) |",
    ]
    assert cells["flow"][-2:] == ["-", "- |"]
    assert lines[-1] == "rvc-next around its step: 4.0 (4.0) ms."


def test_stages_rest_and_processor_time_add_up_to_a_step():
    class Program:
        def step(self) -> str:
            self.spin()
            time.sleep(0.02)
            return "output"

        def spin(self) -> None:
            end = time.process_time() + 0.01
            while time.process_time() < end:
                pass

    timer, program = StageTimer(), Program()
    timer.wrap_step(program, "step")
    timer.wrap(program, "spin", "decoder")
    for _ in range(2):
        assert program.step() == "output"
        reply = timer.reply()
        assert reply["stages"].keys() == {"decoder", "rest"}
        assert sum(reply["stages"].values()) == pytest.approx(reply["total"])
        assert reply["stages"]["rest"] >= 0.02
        assert 0.01 <= reply["processor time"] < reply["total"]


def wheel(path: Path, member: str) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "")
    return str(path)


def test_wrong_arguments_are_told_in_a_sentence(tmp_path, capsys, monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "2")
    checkout = tmp_path / "checkout"
    (checkout / "infer").mkdir(parents=True)
    (checkout / "infer" / "rtrvc.py").touch()
    good = wheel(tmp_path / "rvc_next-1.whl", "rvc_next/engine/stream/engine.py")
    other = wheel(tmp_path / "other-1.whl", "other/__init__.py")
    (tmp_path / "text.whl").write_text("no archive")
    wrong = {
        (): "There is nothing to compare with",
        (str(tmp_path),): "is not a checkout of the reference",
        (str(checkout),): "CHECKOUT needs --python",
        ("--rvc-next", good): "A wheel needs --python",
        ("--rvc-next", other): "is not a wheel of rvc-next",
        ("--rvc-next", str(tmp_path / "text.whl")): "cannot be read as a wheel",
        ("--rvc-next", str(tmp_path / "none.whl")): "cannot be read as a wheel",
        ("--rvc-next", str(tmp_path / "python")): "is not a Python that can be run or a wheel",
        ("--rvc-next", sys.executable): "has no rvc_next: give an environment with it.",
        (str(checkout), "--python", "/bin/true"): "/bin/true is not a Python that can be run.",
        (str(checkout), "--rounds", "0"): "--rounds and --threads must be 1 or more.",
    }
    for words, sentence in wrong.items():
        with pytest.raises(SystemExit) as ended:
            side_by_side.main(words)
        assert ended.value.code == 2
        assert sentence in capsys.readouterr().err.splitlines()[-1], words


def test_a_module_that_is_there_is_not_missing():
    assert missing_import(sys.executable, "numpy") == ""


def answering(*replies: object) -> list[str]:
    """Return a command that answers each request with the next of these replies, and then ends."""
    words = [json.dumps(reply) for reply in replies]
    return [sys.executable, "-Sc", f"for reply in {words!r}: input(); print(reply, flush=True)"]


def test_a_rival_answers_each_request_and_says_why_it_ended():
    step = {"total": 0.5, "processor time": 0.9, "stages": {"pitch": 0.1}, "around": 0.01}
    rival = Rival("other", answering({"torch": "2"}, step, step), {"threads": 2})
    assert rival.facts == {"torch": "2"}
    assert rival.whole() == {"total": 0.5, "processor time": 0.9, "around": 0.01}
    assert rival.by_stages() == {"pitch": 0.1}
    with pytest.raises(SystemExit, match="other: it ended early"):
        rival.whole()
    with pytest.raises(SystemExit, match="other: It lacks torch"):
        Rival("other", answering({"error": "It lacks torch."}), {})
