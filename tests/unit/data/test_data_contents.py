"""Decoded images are found again by what their files hold: not by names, places or times, and never after a change."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from ablate.data import DataError, DataSpec, load
from ablate.data import contents as contents_module
from ablate.data.contents import snapshot


def _flat(value):
    """A file of 4x4 pixels of one grey; as many bytes whatever the grey is."""
    return Image.fromarray(np.full((4, 4), value, np.uint8))


def _tree(root, value):
    """Two images a class, in BMP: trees of different values agree in all names and sizes, and here in all times."""
    for part in ("train", "test"):
        for label in "ab":
            (root / part / label).mkdir(parents=True)
            for i in range(2):
                file = root / part / label / f"{i}.bmp"
                _flat(value + i).save(file)
                os.utime(file, (10**9, 10**9))
    return root


@pytest.fixture
def spec(tmp_path):
    return DataSpec(
        source="folder", root=str(_tree(tmp_path / "images", 10)), cache=str(tmp_path / "c"), val_fraction=0
    )


def _greys(splits):
    return splits.test.x[:, 0, 0, 0].tolist()


def _overwrite(root, file):
    """The same inode, as an editor, rsync --inplace and most copies leave it."""
    with file.open("r+b") as opened, _new(root).open("rb") as new:
        opened.write(new.read())


def _new(root):
    file = root.parent / "new.bmp"
    _flat(99).save(file)
    os.utime(file, (10**9, 10**9))
    return file


CHANGES = {
    "overwritten": _overwrite,
    "replaced": lambda root, file: _new(root).replace(file),
    "copied over, with its times": lambda root, file: shutil.copy2(_new(root), file),
    "linked": lambda root, file: (file.unlink(), file.symlink_to(_new(root))),
}


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_file_replaced_with_equal_size_and_times_is_decoded_again(spec, tmp_path, change, remembered, monkeypatch):
    if remembered:  # as it is of files that are older than two seconds
        monkeypatch.setattr(contents_module, "_SETTLED", 0)
    first = load(spec)
    file = tmp_path / "images/test/b/0.bmp"
    before = file.stat()
    CHANGES[change](tmp_path / "images", file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    second = load(spec)
    assert _greys(first) == [10, 11, 10, 11] and _greys(second) == [10, 11, 99, 11]
    assert first.digest != second.digest


def test_tree_exchanged_for_one_of_equal_names_sizes_and_times_is_decoded_again(spec, tmp_path):
    """What unpacking another version of a reproducible archive does."""
    first = load(spec)
    shutil.rmtree(tmp_path / "images")
    _tree(tmp_path / "images", 50)
    assert _greys(load(spec)) == [50, 51, 50, 51] != _greys(first)


def test_copy_of_a_tree_is_not_decoded_again(spec, tmp_path, monkeypatch):
    first = load(spec)
    shutil.copytree(tmp_path / "images", tmp_path / "copy")
    monkeypatch.setattr("ablate.data.sources.folder.decode_all", lambda *args: pytest.fail("decoded again"))
    spec.root = str(tmp_path / "copy")
    assert load(spec).digest == first.digest


def test_images_decoded_otherwise_are_other_files(spec, tmp_path):
    load(spec)
    spec.background = "black"
    load(spec)
    assert len(list((tmp_path / "c").glob("images-*.npy"))) == 2


@pytest.fixture
def old(tmp_path):
    """Two files that have not changed for a while."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    memo = tmp_path / "memo"
    memo.mkdir()
    taken = snapshot([tmp_path / "one", tmp_path / "two"])
    return contents_module.Snapshot(taken.paths, taken.stamps, taken.newest - 10**10), memo


def test_files_that_stay_are_read_once(old, monkeypatch):
    taken, memo = old
    digest = taken.digest(memo)
    assert len(list(memo.iterdir())) == 1
    monkeypatch.setattr(contents_module, "_digests", lambda paths: pytest.fail("read again"))
    assert taken.digest(memo) == digest


def test_files_that_changed_just_now_are_not_remembered(tmp_path):
    (tmp_path / "one").write_text("one")
    (tmp_path / "memo").mkdir()
    snapshot([tmp_path / "one"]).digest(tmp_path / "memo")
    assert not list((tmp_path / "memo").iterdir())


def test_files_of_a_camera_whose_clock_runs_ahead_are_remembered(old, monkeypatch):
    taken, memo = old
    ahead = 4 * 10**9
    os.utime(taken.paths[0], (ahead, ahead))
    monkeypatch.setattr(contents_module.time, "time_ns", lambda: os.stat(taken.paths[0]).st_ctime_ns + 10**10)
    snapshot(taken.paths).digest(memo)
    assert len(list(memo.iterdir())) == 1


def test_memo_that_is_damaged_is_read_again(old):
    taken, memo = old
    digest = taken.digest(memo)
    (file,) = memo.iterdir()
    for text in (digest[:40], digest + "\n0", "", "\x80"):
        file.write_text(text, "latin-1")
        assert taken.digest(memo) == digest
    assert file.read_text() == digest


def test_memo_that_cannot_be_written_leaves_nothing_beside_it(old):
    taken, memo = old
    digest = taken.digest(memo)
    (file,) = memo.iterdir()
    file.unlink()
    file.mkdir()
    assert taken.digest(memo) == digest
    assert list(memo.iterdir()) == [file]


def test_digest_tells_order_and_borders_apart(tmp_path):
    for name, text in (("a", "12"), ("b", "3"), ("c", "1"), ("d", "23")):
        (tmp_path / name).write_text(text)
    orders = ["ab", "ba", "cd", "abcd"]
    assert len({snapshot([tmp_path / name for name in order]).digest(tmp_path) for order in orders}) == len(orders)


@pytest.mark.parametrize("when", ["before the first", "after the last"])
def test_file_that_vanishes_while_it_is_decoded_is_named_and_nothing_is_kept(spec, tmp_path, monkeypatch, when):
    from ablate.data.sources import folder

    decode_all = folder.decode_all

    def meddled(*args):
        decoded = decode_all(*args)
        examples = list(decoded) if when == "after the last" else decoded
        (tmp_path / "images/train/a/1.bmp").unlink(missing_ok=True)
        yield from examples

    monkeypatch.setattr("ablate.data.sources.folder.decode_all", meddled)
    with pytest.raises(
        DataError, match=r"train.a.1\.bmp must stay as it is while it is read, but is gone; start again\.$"
    ):
        load(spec)
    assert not list((tmp_path / "c").iterdir())


def test_file_that_vanishes_after_it_was_listed_is_named(spec, tmp_path, monkeypatch):
    def meddled(*args, **options):
        (tmp_path / "images/train/a/1.bmp").unlink(missing_ok=True)
        return snapshot(*args, **options)

    monkeypatch.setattr("ablate.data.sources.folder.snapshot", meddled)
    with pytest.raises(
        DataError, match=r"train.a.1\.bmp must stay as it is while it is read, but is gone; start again"
    ):
        load(spec)


def test_file_that_changes_while_it_is_decoded_is_named_and_nothing_is_kept(spec, tmp_path, monkeypatch):
    from ablate.data.sources import folder

    decode_all = folder.decode_all

    def meddled(*args):
        yield from decode_all(*args)
        _flat(200).save(tmp_path / "images/train/a/1.bmp")

    monkeypatch.setattr("ablate.data.sources.folder.decode_all", meddled)
    with pytest.raises(
        DataError, match=r"train.a.1\.bmp must stay as it is while it is read, but changed; start again"
    ):
        load(spec)
    assert not list((tmp_path / "c").iterdir())
