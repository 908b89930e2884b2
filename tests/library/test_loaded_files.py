"""Objects loaded from files are shared, and kept within a limit."""

import os
import threading
import time
import weakref

import pytest

from rtvc.library.loaded_files import LoadedFiles, kept_bytes


class Loaded:
    """What a file was loaded as."""

    def __init__(self, path):
        self.text = path.read_text()


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(path.name * 100)
    return paths


def test_an_object_is_kept_after_its_last_use(files):
    loaded = LoadedFiles(1000)
    first = weakref.ref(loaded.get(files[0], Loaded))
    assert loaded.get(files[0], Loaded) is first()


def test_what_is_kept_can_be_released(files):
    loaded = LoadedFiles(1000)
    first = weakref.ref(loaded.get(files[0], Loaded))
    used = loaded.get(files[1], Loaded)
    loaded.release()
    assert first() is None
    assert loaded.get(files[1], Loaded) is used


def test_the_ones_used_longest_ago_are_released_beyond_the_limit(files):
    loaded = LoadedFiles(250)
    refs = [weakref.ref(loaded.get(path, Loaded)) for path in files[:2]]
    loaded.get(files[0], Loaded)  # the second is now the older one
    third = weakref.ref(loaded.get(files[2], Loaded))
    assert [ref() is not None for ref in (*refs, third)] == [True, False, True]


def test_an_object_in_use_is_shared_even_beyond_the_limit(files):
    loaded = LoadedFiles(50)
    used = loaded.get(files[0], Loaded)
    assert loaded.get(files[0], Loaded) is used
    unused = weakref.ref(used)
    del used
    assert unused() is None


def test_a_file_that_has_changed_is_loaded_again(files):
    loaded = LoadedFiles(1000)
    before = weakref.ref(loaded.get(files[0], Loaded))
    files[0].write_text("new")
    os.utime(files[0], (1, 1))
    assert loaded.get(files[0], Loaded).text == "new"
    assert before() is None


def test_another_variant_is_another_object(files):
    loaded = LoadedFiles(1000)
    half = loaded.get(files[0], Loaded, "float16")
    assert loaded.get(files[0], Loaded, "float32") is not half
    assert loaded.get(files[0], Loaded, "float16") is half


def test_a_missing_file_raises_what_loading_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        LoadedFiles(1000).get(tmp_path / "missing", Loaded)


def test_two_threads_load_a_file_once(files):
    loaded, count, results = LoadedFiles(1000), [], []

    def load(path):
        count.append(1)
        time.sleep(0.05)
        return Loaded(path)

    threads = [
        threading.Thread(target=lambda: results.append(loaded.get(files[0], load)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(count) == 1
    assert results[0] is results[1] is results[2]


def test_at_most_a_gibibyte_is_kept():
    assert 0 < kept_bytes() <= 1 << 30
