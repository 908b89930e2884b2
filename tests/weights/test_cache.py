import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from rtvc.engine.weights import cache
from rtvc.engine.weights.cache import load_content_encoder, load_rmvpe, load_voice
from rtvc.engine.weights.checkpoint import read_voice_checkpoint
from rtvc.engine.weights.content_encoder import read_content_encoder
from rtvc.engine.weights.rmvpe import read_rmvpe
from rtvc.engine.weights.safetensors import read_safetensors, write_safetensors
from rtvc.errors import RtvcError

GOLDEN = Path(__file__).parents[1] / "golden"
VOICE = GOLDEN / "voice_v2_f0_48k.pth"


def assert_same(a, b):
    for field in a.__dataclass_fields__:
        if field != "weights":
            assert getattr(a, field) == getattr(b, field)
    assert list(a.weights) == list(b.weights)
    for name, array in a.weights.items():
        np.testing.assert_array_equal(b.weights[name], array)


def no_conversion(*_arguments):
    raise AssertionError("converted although it was in the cache")


@pytest.mark.parametrize(
    ("load", "read", "reader", "source"),
    [
        (load_voice, read_voice_checkpoint, "read_voice_checkpoint", VOICE),
        (load_voice, read_voice_checkpoint, "read_voice_checkpoint", GOLDEN / "applio_mrf_40k.pth"),
        (
            load_content_encoder,
            read_content_encoder,
            "read_content_encoder",
            GOLDEN / "hubert_small",
        ),
        (load_rmvpe, read_rmvpe, "read_rmvpe", GOLDEN / "rmvpe_small.pt"),
    ],
)
def test_the_second_time_comes_from_the_cache(tmp_path, monkeypatch, load, read, reader, source):  # noqa: PLR0917
    first = load(source, tmp_path / "new" / "folder")
    assert_same(read(source), first)
    monkeypatch.setattr(cache, reader, no_conversion)
    assert_same(first, load(source, tmp_path / "new" / "folder"))
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 1


def entry_of(folder: Path) -> Path:
    (entry,) = folder.iterdir()
    return entry


def flip_a_bit(entry: Path) -> None:
    raw = bytearray(entry.read_bytes())
    raw[-1000] ^= 1
    entry.write_bytes(raw)


def cut(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:-1])


def change_record(entry: Path) -> None:
    tensors, metadata = read_safetensors(entry)
    record = json.loads(metadata["record"]) | {"sample_rate": 1}
    write_safetensors(entry, tensors, metadata | {"record": json.dumps(record)})


def drop_metadata(entry: Path) -> None:
    write_safetensors(entry, read_safetensors(entry)[0])


def other_conversion(entry: Path) -> None:
    tensors, metadata = read_safetensors(entry)
    write_safetensors(entry, tensors, metadata | {"conversion": "0"})


@pytest.mark.parametrize(
    "damage", [flip_a_bit, cut, change_record, drop_metadata, other_conversion]
)
def test_a_stale_or_damaged_entry_is_made_anew(tmp_path, damage):
    good = load_voice(VOICE, tmp_path)
    entry = entry_of(tmp_path)
    content = entry.read_bytes()
    damage(entry)
    assert entry.read_bytes() != content
    assert_same(good, load_voice(VOICE, tmp_path))
    assert entry_of(tmp_path).read_bytes() == content


def test_a_changed_source_is_another_entry(tmp_path):
    source = shutil.copytree(GOLDEN / "hubert_small", tmp_path / "source")
    folder = tmp_path / "cache"
    assert load_content_encoder(source, folder).config.heads == 12
    settings = source / "config.json"
    changed = json.loads(settings.read_text()) | {"num_attention_heads": 8}
    settings.write_text(json.dumps(changed))
    assert load_content_encoder(source, folder).config.heads == 8
    assert len(list(folder.iterdir())) == 2


def test_trouble_with_the_cache_alone_is_logged(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert load_voice(VOICE, tmp_path / "file").sample_rate == 48000
    assert "could not be kept" in caplog.text


def test_trouble_with_the_source_is_raised_and_leaves_nothing(tmp_path):
    with pytest.raises(RtvcError, match="content encoder, not a voice"):
        load_voice(GOLDEN / "hubert_small_fairseq.pt", tmp_path)
    with pytest.raises(RtvcError, match="No such file"):
        load_voice(tmp_path / "gone.pth", tmp_path)
    assert not list(tmp_path.iterdir())
