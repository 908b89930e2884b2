import json
import logging
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rtvc.engine.weights import cache
from rtvc.engine.weights.cache import CACHE_NAME, load_content_encoder, load_rmvpe
from rtvc.engine.weights.content_encoder import read_content_encoder
from rtvc.engine.weights.rmvpe import read_rmvpe
from rtvc.engine.weights.safetensors import read_safetensors, write_safetensors
from rtvc.errors import RtvcError

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture
def rmvpe(tmp_path):
    return Path(shutil.copy(GOLDEN / "rmvpe_small.pt", tmp_path / "rmvpe.pt"))


@pytest.fixture
def encoder(tmp_path):
    folder = shutil.copytree(GOLDEN / "hubert_small", tmp_path / "encoder")
    (folder / "model.safetensors").unlink()
    return folder


def assert_same(a, b):
    for field in a.__dataclass_fields__:
        if field != "weights":
            assert getattr(a, field) == getattr(b, field)
    assert list(a.weights) == list(b.weights)
    for name, array in a.weights.items():
        np.testing.assert_array_equal(b.weights[name], array)


def no_conversion(*_arguments):
    raise AssertionError("converted again although the cache file is valid")


@pytest.mark.parametrize(
    ("source", "load", "reader"),
    [
        ("encoder", load_content_encoder, read_content_encoder),
        ("rmvpe", load_rmvpe, read_rmvpe),
    ],
)
def test_the_second_load_uses_the_cache(monkeypatch, request, source, load, reader):
    path = request.getfixturevalue(source)
    first = load(path)
    assert_same(reader(path), first)
    monkeypatch.setattr(cache, reader.__name__, no_conversion)
    assert_same(first, load(path))
    folder = path if path.is_dir() else path.parent
    assert [file.name for file in folder.iterdir() if file.name.startswith(".")] == [CACHE_NAME]


def test_unfinished_files_of_killed_programs_are_removed(rmvpe):
    ended = subprocess.Popen(["true"])
    ended.wait()
    for process in (ended.pid, os.getppid()):
        (rmvpe.parent / f".{process}-abc.part").touch()
    load_rmvpe(rmvpe)
    names = {file.name for file in rmvpe.parent.iterdir()}
    assert names == {rmvpe.name, CACHE_NAME, f".{os.getppid()}-abc.part"}


def truncate(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:-1])


def drop_metadata(entry: Path) -> None:
    tensors = {name: array.copy() for name, array in read_safetensors(entry)[0].items()}
    write_safetensors(entry, tensors)


def other_conversion(entry: Path) -> None:
    tensors, metadata = read_safetensors(entry)
    tensors = {name: array.copy() for name, array in tensors.items()}
    write_safetensors(entry, tensors, metadata | {"conversion": "0"})


def other_record(entry: Path) -> None:
    tensors, metadata = read_safetensors(entry)
    tensors = {name: array.copy() for name, array in tensors.items()}
    record = json.loads(metadata["record"])
    del record["config"]["bins"]
    write_safetensors(entry, tensors, metadata | {"record": json.dumps(record)})


@pytest.mark.parametrize("damage", [truncate, drop_metadata, other_conversion, other_record])
def test_a_stale_or_damaged_cache_file_is_rewritten(rmvpe, damage):
    good = read_rmvpe(rmvpe)
    load_rmvpe(rmvpe)
    entry = rmvpe.parent / CACHE_NAME
    content = entry.read_bytes()
    damage(entry)
    assert entry.read_bytes() != content
    assert_same(good, load_rmvpe(rmvpe))
    assert entry.read_bytes() == content


def test_a_changed_source_is_converted_again(encoder):
    assert load_content_encoder(encoder).config.heads == 12
    settings = encoder / "config.json"
    changed = json.loads(settings.read_text()) | {"num_attention_heads": 8}
    settings.write_text(json.dumps(changed))
    assert load_content_encoder(encoder).config.heads == 8


def test_a_new_modification_time_invalidates_the_cache(rmvpe):
    load_rmvpe(rmvpe)
    os.utime(rmvpe, ns=(0, 1))
    before = (rmvpe.parent / CACHE_NAME).stat().st_mtime_ns
    load_rmvpe(rmvpe)
    assert (rmvpe.parent / CACHE_NAME).stat().st_mtime_ns > before


def test_safetensors_files_are_not_cached(tmp_path):
    folder = shutil.copytree(GOLDEN / "hubert_small", tmp_path / "encoder")
    (folder / "pytorch_model.bin").unlink()
    assert_same(read_content_encoder(folder), load_content_encoder(folder))
    assert not (folder / CACHE_NAME).exists()


def test_errors_of_the_cache_file_are_only_logged(rmvpe, caplog):
    (rmvpe.parent / CACHE_NAME).mkdir()
    with caplog.at_level(logging.WARNING):
        assert load_rmvpe(rmvpe).config.bins == 360
    assert "could not be stored" in caplog.text


def test_errors_of_the_source_are_raised_and_leave_no_files(tmp_path):
    wrong = Path(shutil.copy(GOLDEN / "voice_v2_f0_48k.pth", tmp_path / "rmvpe.pt"))
    with pytest.raises(RtvcError, match="one network"):
        load_rmvpe(wrong)
    with pytest.raises(RtvcError, match="No such file"):
        load_rmvpe(tmp_path / "gone.pt")
    assert list(tmp_path.iterdir()) == [wrong]
