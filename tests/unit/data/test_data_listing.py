"""What of a folder is read, what is not, and what is said of it: formats, links, damage, names, a val/ of its own."""

import itertools
import os
import shutil
import subprocess
import sys
import unicodedata
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageFile

from ablate import identity
from ablate.data import DataError, DataSpec, describe, load
from ablate.data.decode import Encoded, decode_all
from ablate.data.described import training_images
from ablate.data.listing import suffixes
from ablate.tasks.classify.spec import RunSpec


def _image(seed, size=(6, 5)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.fixture
def root(tmp_path):
    """Two classes, of 4 images to train on and 2 to test on."""
    return _part(_part(tmp_path / "images", "train", 4), "test", 2)


def _part(root, part, images, classes=("cat", "dog")):
    for label, name in enumerate(classes):
        (root / part / name).mkdir(parents=True)
        for i in range(images):
            _image(1000 * label + 10 * len(part) + i).save(root / part / name / f"{i}.png")
    return root


def _spec(root, **leaves):
    kept = {"source": "folder", "root": str(root), "val_fraction": 0.25, "cache": str(root.parent / "cache")}
    return DataSpec(**kept | leaves)


def _zip(folder):
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return folder.with_suffix(".zip")


def _damage(path):
    path.write_bytes(path.read_bytes()[:60])


# ----------------------------------------------------------------------------------------------------------- formats


_WRITABLE = {
    **dict.fromkeys((".png", ".apng"), "PNG"),
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".jp2", ".j2k", ".jpx"), "JPEG2000"),
    **dict.fromkeys((".tga", ".vda", ".icb"), "TGA"),
    **dict.fromkeys((".ppm", ".pnm"), "PPM"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    **{".avif": "AVIF", ".webp": "WEBP", ".gif": "GIF", ".pcx": "PCX", ".sgi": "SGI", ".mpo": "MPO"},
}


def test_suffixes_of_all_formats_that_pillow_writes_are_read(root):
    Image.init()
    written = {suffix: format for suffix, format in _WRITABLE.items() if format in Image.SAVE}
    assert len(written) > 15
    for number, (suffix, format) in enumerate(written.items()):
        name = f"{number}{suffix.upper() if number % 2 else suffix}"
        _image(number).save(root / "train" / "cat" / f"photo{name}", format)
    assert len(load(_spec(root, val_fraction=0)).train) == 8 + len(written)


def test_suffixes_leave_out_what_runs_a_program_or_holds_no_pixels():
    assert not suffixes() & {".eps", ".ps", ".pdf", ".wmf", ".h5", ".hdf", ".mpg", ".grib", ".txt"}


@pytest.mark.parametrize("name", ["photo.heic", "photo.HEIF", "photo.dng", "photo.svg", "photo.eps", "photo.jxl"])
def test_image_of_a_format_that_is_not_read_refuses_the_folder_or_is_left_out(root, name, capsys):
    (root / "train/cat" / name).write_bytes(b"what a camera wrote")
    with pytest.raises(DataError, match=rf"train/cat/{name} \(\.\w+ is not read here\); replace or remove it, or set"):
        describe(_spec(root))
    assert len(load(_spec(root, skip_unreadable=True, val_fraction=0)).train) == 8
    assert f"images that cannot be, by data.skip_unreadable=true (1): train/cat/{name}" in capsys.readouterr().err


def test_files_that_are_no_images_are_named_once_and_refuse_nothing(root, capsys):
    for name in ("train/cat/Thumbs.db", "train/dog/notes.txt", "test/dog/desktop.ini", "test/cat/list.csv"):
        (root / name).write_text("none")
    for name in ("train/cat/.DS_Store", "train/cat/._0.png", "train/labels.csv", "README.md"):
        (root / name).write_text("none")
    _image(0).save(root / "train/cat/.hidden.png")
    _image(0).save(root / "train/beside.png")
    (root / "train/cat/.ipynb_checkpoints").mkdir()
    _part(root, "extra", 1)
    splits = load(_spec(root))
    said = capsys.readouterr().err
    assert said.strip().splitlines() == [f"data.source=folder data.root={root}: {note}" for note in splits.notes]
    assert "files that are no images by their suffix (5): test/cat/list.csv, test/dog/desktop.ini" in said
    assert (
        "what is hidden or a link (2): train/cat/.hidden.png (hidden), train/cat/.ipynb_checkpoints (a hidden folder)"
        in said
    )
    assert "images beside the class folders (1): train/beside.png" in said
    assert "folders of images beside those of the parts (1): extra" in said
    assert ".DS_Store" not in said and "._0" not in said and "README" not in said
    assert load(_spec(root)).notes == splits.notes and capsys.readouterr().err == ""
    assert (len(splits.train) + len(splits.val), len(splits.test)) == (8, 4)


# ------------------------------------------------------------------------------------------------------------- links


def _annex(root, path):
    """A link as git-annex and DVC make them, to where the content was not fetched."""
    (root / path).unlink(missing_ok=True)
    (root / path).symlink_to("../../.git/annex/objects/SHA256E-s9--0.png")


def test_links_that_lead_nowhere_are_named_all_at_once(root):
    for path in ("train/cat/0.png", "train/cat/1.png", "test/dog/0.png"):
        _annex(root, path)
    (root / "train/dog/2.png").unlink()
    (root / "train/dog/2.png.dvc").write_text("outs: []")
    (root / "train/dog/3.png.dvc").write_text("outs: []")  # its image is there
    with pytest.raises(
        DataError, match=r"but 4 are not: test/dog/0\.png \(a link that leads nowhere\), train/cat"
    ) as told:
        describe(_spec(root))
    assert "train/dog/2.png.dvc (it stands for an image that dvc pull brings)" in str(told.value)
    splits = load(_spec(root, skip_unreadable=True, val_fraction=0))
    assert (len(splits.train), len(splits.test)) == (5, 3)
    (root / "train/gone").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"train/gone \(a link that leads nowhere\)"):
        describe(_spec(root))


def test_folders_that_are_links_are_read(root, tmp_path):
    whole = load(_spec(root)).digest
    shutil.move(root / "train/cat", tmp_path / "cats")
    (root / "train/cat").symlink_to(tmp_path / "cats")
    (tmp_path / "more").mkdir()
    shutil.move(tmp_path / "cats/3.png", tmp_path / "more/3.png")
    (tmp_path / "cats/z").symlink_to(tmp_path / "more")
    assert load(_spec(root)).digest == whole
    shutil.move(root / "test", tmp_path / "tests")
    (root / "test").symlink_to(tmp_path / "tests")
    assert load(_spec(root)).digest == whole


@pytest.mark.parametrize("target", [".", "..", "../..", "../../..", "/", "../dog"])
def test_links_to_what_is_read_anyway_end_and_add_nothing(root, target):
    plain = load(_spec(root))
    (root / "train/cat/again").symlink_to(target)
    splits = load(_spec(root))
    assert splits.digest == plain.digest
    assert len(splits.notes) == 1 and "hidden or a link (1): train/cat/again (a link to " in splits.notes[0]


def test_class_that_is_a_link_to_another_class_is_refused(root):
    (root / "train/animal").symlink_to("dog")
    _part(root, "test", 1, classes=["animal"])
    with pytest.raises(
        DataError, match=r"train/animal must hold images .* since it is a link to train/dog/, which is r"
    ):
        describe(_spec(root))
    shutil.rmtree(root / "test")
    (root / "test").symlink_to("train")
    with pytest.raises(DataError, match=r"none under test/; .*\(test is a link to train/, which is read there\)"):
        describe(_spec(root))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_is_no_image_and_no_root(root):
    os.mkfifo(root / "train/cat/9.png")
    with pytest.raises(DataError, match=r"train/cat/9.png \(neither a file nor a folder\)"):
        describe(_spec(root))
    with pytest.raises(DataError, match=r"data.root must name a folder or a zip, got .*9.png, which is neither"):
        describe(_spec(root / "train/cat/9.png"))
    (root / "loop").symlink_to("loop")
    with pytest.raises(DataError, match=r"data.root must name a folder or a zip"):
        describe(_spec(root / "loop"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_files_and_folders_without_permission_are_named(root):
    (root / "train/cat/0.png").chmod(0)
    (root / "train/dog").chmod(0)
    try:
        with pytest.raises(
            DataError, match=r"2 are not: train/cat/0.png \(permission denied\), train/dog \(permission"
        ):
            describe(_spec(root))
    finally:
        (root / "train/dog").chmod(0o700)


def test_link_within_a_zip_is_named(root):
    archive = _zip(root)
    link = zipfile.ZipInfo("train/cat/9.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(link, "0.png")
    with pytest.raises(DataError, match=r"train/cat/9.png \(a link, which a zip does not follow\)"):
        describe(_spec(archive))


# ------------------------------------------------------------------------------------------------------------ damage


def test_damaged_images_are_all_named_and_decoded_once(root, monkeypatch):
    for path in ("test/cat/0.png", "train/cat/1.png", "train/dog/3.png"):
        _damage(root / path)
    Image.fromarray(np.full((6, 5), 40000, np.uint16)).save(root / "train/dog/0.png")
    sentence = (
        r"4 are not: test/cat/0.png could not .*cat/1.png could not .*dog/0.png must be grey .*dog/3.png could not"
    )
    with pytest.raises(DataError, match=sentence):
        load(_spec(root))
    with monkeypatch.context() as patched:
        patched.setattr("ablate.data.sources.folder.decode_all", lambda *args: pytest.fail("decoded again"))
        with pytest.raises(DataError, match=sentence):
            load(_spec(root))
        assert (len(load(_spec(root, skip_unreadable=True, val_fraction=0)).train)) == 5
    for path in ("test/cat/0.png", "train/cat/1.png", "train/dog/3.png", "train/dog/0.png"):
        _image(3).save(root / path)
    assert len(load(_spec(root)).test) == 4


def test_damaged_images_beyond_the_tenth_are_counted(root):
    for i in range(12):
        (root / f"train/cat/x{i:02}.png").write_text("none")
    with pytest.raises(DataError, match=r"but 12 are not: .*x09.png [^,]*, and 2 more; replace or remove them") as told:
        load(_spec(root))
    assert "x10.png" not in str(told.value)


@pytest.mark.parametrize("size", [None, [4, 4]])
def test_damaged_images_left_out_leave_the_data_that_there_is_without_them(root, size, capsys):
    (root / "test/cat/0.png").write_text("the first of all")
    _damage(root / "train/dog/2.png")
    skipped = load(_spec(root, skip_unreadable=True, image_size=size))
    said = capsys.readouterr().err
    assert "not read: damaged images, by data.skip_unreadable=true (2): test/cat/0.png could not be decoded (" in said
    assert str(root) not in "".join(skipped.notes)
    (root / "test/cat/0.png").unlink()
    (root / "train/dog/2.png").unlink()
    removed = load(_spec(root, image_size=size))
    assert skipped.digest == removed.digest and len(skipped.train) == len(removed.train)
    if size:
        names = [[file.name for file in splits.train.originals.files] for splits in (skipped, removed)]
        assert names[0] == names[1]


def test_class_without_a_readable_image_is_refused(root):
    for i in range(2):
        _damage(root / f"test/dog/{i}.png")
    with pytest.raises(DataError, match=r"class dog must have an image in test/ that can be read, got none"):
        load(_spec(root, skip_unreadable=True))
    for path in root.rglob("*.png"):
        path.write_text("none")
    with pytest.raises(DataError, match="12 are not: "):
        load(_spec(root, skip_unreadable=True))
    with pytest.raises(DataError, match="could not be decoded"):
        describe(_spec(root, skip_unreadable=True))


def test_file_that_the_system_does_not_give_is_never_kept_as_damaged(root):
    files = [Encoded("a", (root / "train/cat/0.png").read_bytes, 0), Encoded("b", (root / "gone.png").read_bytes, 0)]
    with pytest.raises(DataError, match=r"but b could not be decoded \(FileNotFoundError"):
        list(decode_all(files, 2, _spec(root, skip_unreadable=True), "here"))


@pytest.mark.parametrize("refusal", [MemoryError(), OSError("out of memory when reading image file")])
@pytest.mark.parametrize("kept", [False, True])
def test_image_that_found_no_memory_is_decoded_by_the_next_run(root, refusal, kept, monkeypatch):
    whole = load(_spec(root)).digest
    shutil.rmtree(root.parent / "cache")

    calls, load_pixels = itertools.count(), ImageFile.ImageFile.load

    def load_but_one(image):
        if next(calls) == 3:
            raise refusal
        return load_pixels(image)

    with monkeypatch.context() as patched:
        if kept:  # as an older version of this code kept it
            patched.setattr("ablate.data.decode._passes", lambda cause: False)
        patched.setattr(ImageFile.ImageFile, "load", load_but_one)
        with pytest.raises(DataError, match="could not be decoded"):
            load(_spec(root, skip_unreadable=not kept))
    assert load(_spec(root)).digest == whole


def test_skip_unreadable_is_part_of_the_identity():
    leaves = {"data.skip_unreadable": False, "data.root": "x"}
    defaults = RunSpec().leaves()
    assert identity.definition(leaves, defaults) != identity.definition(
        leaves | {"data.skip_unreadable": True}, defaults
    )
    assert identity.definition(leaves, defaults) == identity.definition(leaves | {"data.root": "y"}, defaults)


# --------------------------------------------------------------------------------------- a val/ beside train/ and test/


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_validation_folder_is_what_validates(root, name, capsys):
    _part(root, name, 3)
    spec = _spec(root)
    splits = load(spec)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (8, 6, 4)
    assert splits.val.y.tolist() == [0, 0, 0, 1, 1, 1]
    own = np.stack([np.asarray(Image.open(root / name / "cat" / f"{i}.png")) for i in range(3)])
    assert np.array_equal(splits.val.x[:3], own)
    assert f"validation takes the 6 images of {name}/, and data.val_fraction holds out none" in capsys.readouterr().err
    assert training_images(spec) == 8 and training_images(_spec(root, fraction=0.5)) == 4
    assert load(_spec(_zip(root))).digest == splits.digest


def test_validation_folder_is_left_alone_where_nothing_is_to_validate(root, capsys):
    without = load(_spec(root, val_fraction=0))
    _part(root, "val", 3)
    splits = load(_spec(root, val_fraction=0))
    assert splits.digest == without.digest and not len(splits.val)
    assert "val/ is not read, since data.val_fraction=0" in capsys.readouterr().err


def test_validation_folder_must_be_one_with_the_same_classes(root):
    _part(root, "val", 1, classes=["cat", "wolf"])
    with pytest.raises(
        DataError, match="same classes under train/ and val/, got only under train/: dog; only under val/"
    ):
        load(_spec(root))
    (root / "val/wolf").rename(root / "val/dog")
    _part(root, "valid", 1)
    with pytest.raises(DataError, match="must have one folder of validation images, got val/ and valid/"):
        load(_spec(root))
    shutil.rmtree(root / "valid")
    shutil.rmtree(root / "test")
    with pytest.raises(DataError, match=r"none under test/; .*\(to be tested on val/, rename it to test/\)"):
        load(_spec(root))


_UNREAD = {
    "heic": lambda folder: (folder / "0.heic").write_bytes(b"0"),
    "dvc": lambda folder: (folder / "0.jpg.dvc").write_bytes(b"0"),
    "dangling": lambda folder: (folder / "0.jpg").symlink_to("nowhere"),
}


@pytest.mark.parametrize("kind", _UNREAD)
def test_validation_folder_of_files_that_cannot_be_read_is_refused_as_training_is(root, kind):
    for name in ("cat", "dog"):
        (root / "val" / name).mkdir(parents=True)
        _UNREAD[kind](root / "val" / name)
    with pytest.raises(DataError, match=r"but 2 are not: val/cat/0.* (is not read here|dvc pull brings|leads nowhere)"):
        describe(_spec(root))
    describe(_spec(root, val_fraction=0))


_NOTHING = {
    "folder": lambda root: (root / "val").mkdir(),
    "classes": lambda root: (root / "val/cat").mkdir(parents=True),
    "no suffix": lambda root: [(root / "val/cat").mkdir(parents=True), (root / "val/cat/0").write_bytes(b"0")],
    "class.dvc": lambda root: [(root / "val").mkdir(), (root / "val/cat.dvc").write_text("outs:")],
    "val.dvc": lambda root: (root / "val.dvc").write_text("outs:"),
}


@pytest.mark.parametrize("make", _NOTHING)
@pytest.mark.parametrize("wrapped", [False, True])
def test_validation_folder_without_an_image_is_named(root, make, wrapped):
    place = root
    if wrapped:
        place = root / "inner"
        place.mkdir()
        for part in ("train", "test"):
            (root / part).rename(place / part)
    _NOTHING[make](place)
    name = "val.dvc" if make == "val.dvc" else "val/"
    assert load(_spec(root)).notes == (f"{name} is there and holds no image that is read, so it validates nothing.",)
    assert load(_spec(root, val_fraction=0)).notes == ()


def test_several_validation_folders_are_an_error_only_where_one_is_read(root):
    _part(root, "val", 1)
    _part(root, "valid", 1)
    assert len(load(_spec(root, val_fraction=0)).notes) == 2
    with pytest.raises(DataError, match="must have one folder of validation images, got val/ and valid/"):
        describe(_spec(root))


@pytest.mark.parametrize("target", ["test", "nowhere"])
def test_validation_folder_that_is_a_link_to_nothing_new_is_named(root, target, capsys):
    (root / "val").symlink_to(target)
    splits = load(_spec(root))
    assert (len(splits.train), len(splits.val)) == (6, 2)
    assert "hidden or a link (1): val (a link " in capsys.readouterr().err
    assert len(splits.notes) == 1


# ------------------------------------------------------------------------------------------------------------- names


NAMES = ("café", "jürgen", "이름")


def test_class_names_are_one_in_both_of_unicodes_forms(tmp_path):
    def made(folder, forms):
        for form, part, images in zip(forms, ("train", "test"), (4, 2), strict=True):
            _part(tmp_path / folder, part, images, [unicodedata.normalize(form, name) for name in NAMES])
        return load(_spec(tmp_path / folder))

    one, other, mixed = (
        made(folder, forms) for folder, forms in (("a", ("NFC", "NFC")), ("b", ("NFD", "NFD")), ("c", ("NFC", "NFD")))
    )
    assert one.classes == other.classes == mixed.classes == tuple(sorted(NAMES))
    assert one.digest == other.digest == mixed.digest
    assert load(_spec(_zip(tmp_path / "c"))).digest == one.digest


def test_class_named_twice_in_both_of_unicodes_forms_is_refused(tmp_path):
    for part in ("train", "test"):
        _part(tmp_path / "images", part, 1, [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")])
    with pytest.raises(
        DataError, match=r"got two under train/ that are both called café, .*\(Unicode's NFC and NFD\); merge"
    ):
        describe(_spec(tmp_path / "images"))


def test_names_that_are_not_utf_8_are_refused_for_classes_and_shown_for_files(root):
    name = os.fsdecode(b"caf\xe9")
    try:
        (root / "train/cat" / f"{name}.png").write_text("damaged")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    with pytest.raises(DataError, match=r"but train/cat/caf\\xe9\.png could not be decoded") as told:
        load(_spec(root))
    assert str(told.value).encode("utf-8")
    _image(0).save(root / "train/cat" / f"{name}.png")
    assert len(load(_spec(root, val_fraction=0)).train) == 9
    for part in ("train", "test"):
        _part(root, part, 1, [name])
    with pytest.raises(DataError, match=r"class folder must be UTF-8 without .*, got train/caf\\xe9; rename it"):
        describe(_spec(root))


def test_a_class_folder_that_python_was_told_to_read_otherwise_is_told_from_one_that_is_no_utf8(tmp_path):
    for part in ("train", "test"):
        _part(tmp_path, part, 1, ["caf\xe9"])
    program = f"from ablate.data import DataSpec, describe; describe(DataSpec(source='folder', root={str(tmp_path)!r}))"
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, encoding="utf-8", check=False)
    said = "name of a class folder must be read as UTF-8, which it is, but Python was told otherwise: set PYTHONUTF8=1"
    assert f"DataError: {tmp_path}: the {said} (train/caf\xe9)." in done.stderr


def test_names_with_control_characters_are_refused_for_classes_and_escaped_for_files(root):
    (root / "train/cat/\x1b[31mred\n.png").write_text("damaged")
    with pytest.raises(DataError, match=r"but train/cat/\\x1b\[31mred\\x0a\.png could not be decoded"):
        load(_spec(root))
    (root / "train/a\nb").mkdir()
    with pytest.raises(DataError, match=r"without control characters, got train/a\\x0ab; rename it"):
        describe(_spec(root))


@pytest.mark.parametrize("other", ["Dog", "dog "])
def test_class_names_that_differ_in_case_or_spaces_alone_are_pointed_out(root, other):
    (root / "test/dog").rename(root / "test" / other)
    with pytest.raises(
        DataError, match=rf"only under train/: dog; only under test/: {other} \('dog' and '{other}' differ"
    ):
        describe(_spec(root))


# ----------------------------------------------------------------------------------------- classes without validation


def test_classes_without_a_validation_image_are_named(tmp_path, capsys):
    _part(_part(tmp_path / "images", "train", 10), "test", 1)
    for part in ("train", "test"):
        _part(tmp_path / "images", part, 1, ["lone"])
    spec = _spec(tmp_path / "images", val_fraction=0.1)
    splits = load(spec)
    assert len(splits.val) == 2 and np.bincount(splits.train.y).tolist() == [9, 9, 1]
    assert (
        "1 of 3 classes have no validation image, since they have one training image: lone." in capsys.readouterr().err
    )
    assert training_images(spec) == 19


def test_validation_that_cannot_reach_its_fraction_is_told(tmp_path):
    classes = [f"{n:02}" for n in range(10)]
    root = _part(_part(tmp_path / "images", "train", 5, classes), "test", 1, classes)
    splits = load(_spec(root, val_fraction=0.9))
    assert np.bincount(splits.train.y).tolist() == [1] * 10
    assert splits.notes == (
        "validation has 40 images, fewer than the 45 of data.val_fraction=0.9, so that every class keeps a training "
        "image.",
    )


def test_validation_that_grows_beyond_its_fraction_is_told(tmp_path, capsys):
    _part(
        _part(tmp_path / "images", "train", 2, [f"{n:02}" for n in range(20)]),
        "test",
        1,
        [f"{n:02}" for n in range(20)],
    )
    spec = _spec(tmp_path / "images", val_fraction=0.1)
    splits = load(spec)
    assert np.bincount(splits.val.y).tolist() == [1] * 20 and training_images(spec) == len(splits.train) == 20
    assert "validation has 20 images, more than the 4 of data.val_fraction=0.1" in capsys.readouterr().err
