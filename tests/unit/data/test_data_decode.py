"""Image files to pixels: upright, on one background, and never larger than what fits."""

import io
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, features

from ablate.data import DataError, DataSpec, describe, load

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (5, 8, 3), dtype=np.uint8)


def _encoded(image, format, **options):
    image.save(buffer := io.BytesIO(), format, **options)
    return buffer.getvalue()


@pytest.fixture
def loaded(tmp_path):
    """Loads files as the only image of one class, in training and in test, after a look at what describe says."""

    def load_file(content, **leaves):
        for part in ("train", "test"):
            (tmp_path / "images" / part / "a").mkdir(parents=True, exist_ok=True)
            (tmp_path / "images" / part / "a" / "0.png").write_bytes(content)
        leaves = {"root": str(tmp_path / "images"), "val_fraction": 0, "cache": str(tmp_path / "c")} | leaves
        spec = DataSpec(source="folder", **leaves)
        shape, _ = describe(spec)
        spec.mean = spec.std = [0.5] * shape[2]  # of one grey image nothing can be measured
        splits = load(spec)
        assert splits.input_shape == shape
        return splits

    return load_file


TURNED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}
"""EXIF's orientations: what a viewer does to the pixels of the file."""

FORMATS = {"JPEG": {}, "MPO": {}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "AVIF": {"quality": 100}}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("format", FORMATS)
def test_photo_is_turned_as_its_exif_says(loaded, format, orientation):
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = Image.fromarray(PICTURE)
    as_stored = np.asarray(Image.open(io.BytesIO(_encoded(photo, format, **FORMATS[format]))))
    content = _encoded(photo, format, exif=exif, **FORMATS[format])
    assert np.array_equal(loaded(content).train.x[0], TURNED[orientation](as_stored))
    original = loaded(content, image_size=[4, 4]).train.originals[0]  # what random resized crops are cut from
    assert np.array_equal(np.asarray(original), TURNED[orientation](as_stored))


@pytest.mark.parametrize("said", [0, 9, 65535])
@pytest.mark.filterwarnings("error")
def test_photo_of_unknown_orientation_is_left_as_it_is(loaded, said):
    exif = Image.Exif()
    exif[0x0112] = said
    assert np.array_equal(loaded(_encoded(Image.fromarray(PICTURE), "PNG", exif=exif)).train.x[0], PICTURE)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0" + b"junk" * 20,
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0",  # a word
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.filterwarnings("error")
def test_photo_whose_exif_is_damaged_is_upright_and_counted_by_every_run(loaded, format, exif):
    photo = Image.fromarray(PICTURE)
    as_stored = np.asarray(Image.open(io.BytesIO(_encoded(photo, format, **FORMATS[format]))))
    content = _encoded(photo, format, exif=exif, **FORMATS[format])
    for splits in (loaded(content), loaded(content)):  # the second finds what the first decoded
        assert np.array_equal(splits.train.x[0], as_stored)
        assert splits.notes == ("taken as upright, since their EXIF cannot be read (2): test/a/0.png, train/a/0.png.",)


def test_pillows_own_warning_of_damaged_exif_is_not_told(tmp_path):
    """In a process of its own: pytest has filters of warnings of its own."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0"
    (tmp_path / "0.jpg").write_bytes(_encoded(Image.fromarray(PICTURE), "JPEG", exif=exif))
    code = (
        "import sys\nfrom pathlib import Path\nfrom ablate.data.decode import Encoded, decoded\n"
        "print(decoded(Encoded('a', Path(sys.argv[1]).read_bytes, 0), (0, 0, 0)).size)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "0.jpg"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(8, 5)\n", "")


def _chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(width, height, bits, kind, rows, *chunks):
    """A PNG file of packed rows; kind 0 is grey, 2 is colour, 3 has a palette."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    body = b"".join(_chunk(name, data) for name, data in chunks)
    packed = _chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + body + packed + _chunk(b"IEND", b"")


COLOURS = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
ALPHA = RNG.choice(np.array([0, 1, 100, 128, 254, 255], np.uint8), (4, 6))
RGBA = Image.fromarray(np.dstack([COLOURS, ALPHA]))
GREY = COLOURS[..., :1]
LA = Image.fromarray(np.dstack([GREY, ALPHA]), "LA")
KEYED = np.where(COLOURS[..., :1] < 128, 0, COLOURS).astype(np.uint8)
KEY_ALPHA = np.where(KEYED.any(axis=2), 255, 0).astype(np.uint8)


def _palette(transparency, format="PNG"):
    """6 entries of a palette, one row."""
    image = Image.fromarray(np.arange(6, dtype=np.uint8)[np.newaxis], "P")
    image.putpalette(COLOURS[0].tobytes())
    return _encoded(image, format, transparency=transparency)


def _associated(image):
    """A TIFF whose colours are multiplied by alpha: its ExtraSamples says 1 where Pillow writes 2."""
    content = _encoded(image, "TIFF")
    tag = struct.pack("<HHIH", 338, 3, 1, 2)
    assert content.count(tag) == 1
    return content.replace(tag, struct.pack("<HHIH", 338, 3, 1, 1))


def _multiplied(image):
    whole = np.asarray(image).astype(int)
    return Image.fromarray(
        np.dstack([whole[..., :-1] * whole[..., -1:] // 255, whole[..., -1]]).astype(np.uint8), image.mode
    )


ENTRIES = bytes([0, 255, 128, 7, 255, 0])
TRANSPARENT = {
    "RGBA PNG": (_encoded(RGBA, "PNG"), COLOURS, ALPHA, 1),
    "RGBA WebP": (_encoded(RGBA, "WEBP", lossless=True, exact=True), COLOURS, ALPHA, 1),
    "RGBA TIFF": (_encoded(RGBA, "TIFF"), COLOURS, ALPHA, 1),
    "RGBA TGA": (_encoded(RGBA, "TGA"), COLOURS, ALPHA, 1),
    "RGBa TIFF": (_associated(_multiplied(RGBA)), COLOURS, ALPHA, 2),
    "LA PNG": (_encoded(LA, "PNG"), GREY, ALPHA, 1),
    "LA TIFF": (_encoded(LA, "TIFF"), GREY, ALPHA, 1),
    "La TIFF": (_associated(_multiplied(LA)), GREY, ALPHA, 2),
    "palette PNG": (_palette(ENTRIES), COLOURS[:1], np.frombuffer(ENTRIES, np.uint8)[np.newaxis], 1),
    "palette PNG, one entry": (_palette(2), COLOURS[:1], np.array([[255, 255, 0, 255, 255, 255]]), 0),
    "GIF": (_palette(2, "GIF"), COLOURS[:1], np.array([[255, 255, 0, 255, 255, 255]]), 0),
    "RGB PNG, one colour": (_encoded(Image.fromarray(KEYED), "PNG", transparency=(0, 0, 0)), KEYED, KEY_ALPHA, 0),
    "grey PNG, one grey": (
        _encoded(Image.fromarray(KEYED[..., 0]), "PNG", transparency=0),
        KEYED[..., :1],
        np.where(KEYED[..., 0], 255, 0),
        0,
    ),
    "grey PNG of 1 bit": (
        _png(8, 1, 1, 0, [b"\x0f"], (b"tRNS", b"\0\1")),
        np.array([[[0]] * 4 + [[255]] * 4]).reshape(1, 8, 1),
        np.array([[255] * 4 + [0] * 4]),
        0,
    ),
    "grey PNG of 2 bits": (
        _png(4, 1, 2, 0, [b"\x1b"], (b"tRNS", b"\0\2")),
        np.array([0, 85, 170, 255]).reshape(1, 4, 1),
        np.array([[255, 255, 0, 255]]),
        0,
    ),
    "grey PNG of 4 bits": (
        _png(4, 1, 4, 0, [b"\x3f\x70"], (b"tRNS", b"\0\7")),
        np.array([51, 255, 119, 0]).reshape(1, 4, 1),
        np.array([[255, 255, 0, 255]]),
        0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("background", ["white", "black", [128, 128, 128], [200, 30, 0]])
@pytest.mark.parametrize("name", TRANSPARENT)
def test_transparent_image_shows_the_background(loaded, name, background):
    content, colours, alpha, tolerance = TRANSPARENT[name]
    behind = np.array({"white": [255] * 3, "black": [0] * 3}.get(str(background), background))
    if colours.shape[2] == 1 and len(set(behind)) == 1:
        behind = behind[:1]  # grey stays grey
    share = alpha[..., np.newaxis] / 255
    wanted = share * colours + (1 - share) * behind
    got = loaded(content, background=background).train.x[0].astype(int)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= tolerance
    clear, solid = alpha == 0, alpha == 255
    assert np.array_equal(got[clear], np.broadcast_to(behind, wanted.shape)[clear])
    assert np.array_equal(got[solid], wanted[solid].astype(int))


def test_black_glyph_on_transparent_black_is_seen(loaded):
    glyph = np.zeros((4, 4, 4), np.uint8)
    glyph[1:3, 1:3, 3] = 255
    content = _encoded(Image.fromarray(glyph), "PNG")
    assert np.array_equal(loaded(content).train.x[0, :, :, 0], 255 - glyph[..., 3])
    assert not loaded(content, background="black").train.x.any()
    original = loaded(content, image_size=[8, 8]).train.originals[0]
    assert np.array_equal(np.asarray(original)[..., 0], 255 - glyph[..., 3])


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_transparent_photo_is_turned_with_its_alpha(loaded, format):
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = _encoded(RGBA, format, exif=exif, **FORMATS[format])
    upright = _encoded(RGBA.transpose(Image.Transpose.ROTATE_270), format, **FORMATS[format])
    assert np.array_equal(loaded(lying).train.x[0], loaded(upright).train.x[0])


def test_opaque_image_is_the_same_with_alpha_and_without(loaded):
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colours = np.dstack([every, every[::-1], every.T])
    with_alpha = Image.fromarray(np.dstack([colours, np.full((16, 16), 255, np.uint8)]))
    for background in ("white", [1, 2, 3]):
        got = loaded(_encoded(with_alpha, "PNG"), background=background).train.x[0]
        assert np.array_equal(got, colours)


def test_tga_whose_fourth_bytes_are_all_zero_is_not_transparent(loaded):
    unused = Image.fromarray(np.dstack([COLOURS, np.zeros((4, 6), np.uint8)]))
    assert np.array_equal(loaded(_encoded(unused, "TGA")).train.x[0], COLOURS)


def test_transparent_colour_of_16_bits_is_named(loaded):
    content = _png(1, 1, 16, 2, [bytes(6)], (b"tRNS", bytes(6)))
    with pytest.raises(DataError, match=r"0\.png must have 8 bits a channel where a colour is transparent"):
        loaded(content)


def test_image_that_claims_too_many_pixels_is_named(loaded):
    with pytest.raises(DataError, match=r"0\.png must have at most 178956970 pixels, got more; scale it down"):
        loaded(_png(100_000, 100_000, 8, 2, [b""]))


@pytest.mark.filterwarnings("error")
def test_large_image_is_read_without_a_warning_of_an_attack(loaded, monkeypatch):
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # as ablate.data.decode does; pytest took it away
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    monkeypatch.setattr("ablate.data.decode._LARGE", 30)
    assert np.array_equal(loaded(_encoded(Image.fromarray(PICTURE), "PNG")).train.x[0], PICTURE)
    with pytest.raises(DataError, match=r"must have at most 60 pixels"):
        loaded(_encoded(Image.fromarray(np.zeros((8, 8), np.uint8)), "PNG"))


def test_postscript_is_not_run(loaded):
    with pytest.raises(DataError, match=r"0\.png must hold pixels, got a PostScript program"):
        loaded(_encoded(Image.fromarray(PICTURE), "EPS"))
