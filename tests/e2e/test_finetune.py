"""From a trained model's file to a training on other images: what is loaded, kept, drawn anew, and said."""

import re
import shutil

import numpy as np
import pytest
from keras import ops
from PIL import Image

from ablate.config.compose import compose, to_config
from ablate.config.overrides import ConfigError
from ablate.data.described import describe
from ablate.data.spec import DataError
from ablate.identity import definition
from ablate.models import save_weights
from ablate.models.slots import SpecError
from ablate.models.weight_files import write_safetensors
from ablate.models.weights import WeightsError, read_safetensors, state_dict
from ablate.sweep.plan import make_plan
from ablate.tasks.classify.run import Workbench, check_weights, run
from ablate.tracking import TrackingSpec, read_runs
from tests.e2e.test_cli import ablate
from tests.observers import Hears

TINY = ["model=tiny", "model.dim=16", "train.batch_size=64"]
HEAD = {"classifier.fc.weight", "classifier.fc.bias"}
POSITIONAL = "classifier.positional_emb"


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A file of weights that were trained on 10 digits of 8x8 pixels."""
    path = tmp_path_factory.mktemp("pretrained") / "digits.safetensors"
    save_weights(
        run(to_config(compose([*TINY, "data=digits", "train.epochs=1", "seed=9"])).point(), Workbench()).model, path
    )
    return path


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    """Three classes of other images, 12x10 pixels and grey like the digits."""
    root, draw = tmp_path_factory.mktemp("stripes"), np.random.default_rng(0)
    for part, count in (("train", 30), ("test", 6)):
        for label in range(3):
            folder = root / part / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 80, (12, 10))
                pixels[label::3] += 150
                Image.fromarray(pixels.astype("uint8")).save(folder / f"{number}.png")
    return root


@pytest.fixture
def finetune(pretrained, stripes, tmp_path):
    workbench = Workbench()  # one for all runs of a test, as for those of a sweep

    def train(*words):
        told = []
        data = ["data=folder", f"data.root={stripes}", f"data.cache={tmp_path}", f"model.weights={pretrained}"]
        spec = to_config(compose([*TINY, *data, "train.epochs=1", *words])).point()
        heads = Hears(started=lambda tags, _: told.extend(tags[key] for key in tags if key == "ablate.weights.head"))
        record = run(spec, workbench, heads)
        return record, state_dict(record.model), told

    return train


def test_frozen_encoder_stays_the_files_to_the_bit_and_the_head_learns(finetune, pretrained):
    record, after, _ = finetune("train.freeze=encoder", "train.epochs=3", "train.lr=0.01", "train.weight_decay=10")
    stored = read_safetensors(pretrained)
    for name, tensor in stored.items():
        if name.startswith(("classifier.blocks", "classifier.norm", "tokenizer")):
            np.testing.assert_array_equal(after[name], tensor, err_msg=name)
    assert not np.array_equal(after["classifier.attention_pool.weight"], stored["classifier.attention_pool.weight"])
    grid = ops.image.resize(stored[POSITIONAL].reshape(1, 4, 4, 16), (6, 5), interpolation="bilinear", antialias=False)
    np.testing.assert_allclose(after[POSITIONAL], ops.reshape(grid, (1, 30, 16)), atol=1e-6)
    assert after["classifier.fc.weight"].shape == (3, 16)
    assert record.loaded.head == "drawn" and record.loaded.interpolated == (POSITIONAL,)


def test_unfrozen_training_starts_at_the_file_and_each_seed_draws_its_own_head(finetune, pretrained):
    still = ["train.lr=1e-9", "train.warmup_epochs=0", "train.min_lr=0", "train.warmup_lr=0"]
    stored = read_safetensors(pretrained)
    heads = []
    for seed in (0, 1, 0):
        _, after, told = finetune(*still, f"seed={seed}")
        for name in set(stored) - HEAD - {POSITIONAL}:
            np.testing.assert_allclose(after[name], stored[name], atol=1e-6, err_msg=name)
        assert told == ["drawn"]
        heads.append(after["classifier.fc.weight"])
    assert np.abs(heads[0] - heads[1]).max() > 1e-3
    np.testing.assert_array_equal(heads[0], heads[2])
    _, moved, _ = finetune("train.lr=0.01", "train.warmup_epochs=0")
    assert np.abs(moved["tokenizer.conv_layers.0.0.weight"] - stored["tokenizer.conv_layers.0.0.weight"]).max() > 1e-3


def test_scratch_and_pretrained_do_not_mix_in_one_workbench(finetune, pretrained):
    still = ["train.lr=1e-9", "train.warmup_epochs=0", "train.min_lr=0", "train.warmup_lr=0"]
    name, (_, first, _) = "tokenizer.conv_layers.0.0.weight", finetune(*still)
    record, scratch, told = finetune(*still, "model.weights=null")
    assert told == [] and record.loaded is None
    assert np.abs(scratch[name] - read_safetensors(pretrained)[name]).max() > 1e-2
    np.testing.assert_array_equal(finetune(*still)[1][name], first[name])


def test_image_size_may_be_one_side_of_a_square():
    for given in ("64", "[64,64]"):
        assert to_config(compose(["data=digits", f"data.image_size={given}"])).point().data.image_size == [64, 64]
    for wrong in ("0", "[64]", "[64,0]", "big", "1.5", "true"):
        with pytest.raises(DataError, match=r"data\.image_size must be a side or"):
            describe(to_config(compose(["data=digits", f"data.image_size={wrong}"])).point().data)


def test_identity_takes_the_files_content_for_its_name(pretrained, tmp_path):
    def settings(weights):
        spec = to_config(compose([*TINY, "data=digits", f"model.weights={weights}"])).point()
        return definition(spec.leaves(), spec.defaults())

    copy, other = tmp_path / "copy.safetensors", tmp_path / "other.safetensors"
    shutil.copy(pretrained, copy)
    other.write_bytes(pretrained.read_bytes() + b"more")
    assert settings(copy) == settings(pretrained)
    assert len({str(settings(weights)) for weights in (pretrained, other, "null")}) == 3
    copy.write_bytes(other.read_bytes())
    assert settings(copy) == settings(other)


def test_a_missing_file_fails_while_composing_and_planning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"model.weights must name a file that can be read, got 'absent.pth' \(looked"
    ):
        to_config(compose([*TINY, "data=digits", "model.weights=absent.pth"])).point()
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(
        "base: {model: tiny, data: digits}\naxes: {model.weights: [null, absent.pth]}\n"
    )
    with pytest.raises(ValueError, match=r"absent\.pth s0: model\.weights must name a file"):
        make_plan(["+sweep=mine"])


def test_weights_key_needs_a_file_where_nothing_is_swept_and_means_nothing_to_a_point_without_one():
    config = to_config(compose([*TINY, "data=digits", "model.weights_key=ema"]))
    with pytest.raises(ConfigError, match=r"model\.weights_key must come with model\.weights.*add model\.weights=FILE"):
        config.alone()
    assert config.point().model.weights_key is None
    with pytest.raises(SpecError, match=r"model\.weights_key must be a key of model\.weights' file, or null"):
        to_config(compose([*TINY, "data=digits", "model.weights_key=''"])).point()


def test_weights_key_is_part_of_a_runs_identity_and_its_choice_is_said(pretrained, tmp_path):
    weights, path = read_safetensors(pretrained), tmp_path / "two.safetensors"
    write_safetensors(path, {f"{key}.{name}": array for key in ("raw", "ema") for name, array in weights.items()})
    words = [*TINY, "data=digits", f"model.weights={path}"]
    raw, ema = (to_config(compose([*words, f"model.weights_key={key}"])).point() for key in ("raw", "ema"))
    assert definition(raw.leaves(), raw.defaults()) != definition(ema.leaves(), ema.defaults())
    assert check_weights({"raw": raw, "ema": ema})[1].startswith("weights: two.safetensors: loaded 19 weights of ema")


def test_check_weights_names_the_run_that_a_file_does_not_fit(pretrained):
    words = [*TINY, "data=digits", f"model.weights={pretrained}"]
    fits, wider = (to_config(compose([*words, *more])).point() for more in ([], ["model.positional=none"]))
    (line,) = check_weights({"one": fits, "two": fits})
    assert line.startswith("weights: digits.safetensors: loaded") and "the head's among them" in line
    with pytest.raises(
        WeightsError, match=r"for none s0: digits.safetensors does not fit .* extra classifier.positional"
    ):
        check_weights({"one": fits, "none s0": wider})


def test_command_with_weights_that_do_not_fit_is_one_sentence_before_any_run(pretrained, tmp_path):
    result = ablate(*TINY, "data=digits", f"model.weights={pretrained}", "model.dim=32", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("ablate: model.weights must fit the model") and "Traceback" not in result.stderr
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.full
@pytest.mark.timeout(900)  # 45 s of computing, which a busy machine may take its time for
def test_pretrain_then_finetune_from_the_command_line(stripes, tmp_path):
    first = ablate(*TINY, "data=digits", "train.epochs=1", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    shutil.copy(next(tmp_path.glob("**/model.keras")), tmp_path / "digits.keras")
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "transfer.yaml").write_text(
        "question: Does it help to start from digits?\n"
        "base: {model: tiny, model.dim: 16, data: folder, train.epochs: 1, train.batch_size: 27,\n"
        "  tracking.log_model: false, tracking.experiment: transfer}\n"
        "axes:\n  model.weights: [null, digits.keras]\n  train.freeze: [none, encoder]\nseeds: 2\n"
        "where: [{when: {model.weights: null, train.freeze: encoder}, reason: nothing learned to freeze}]\n"
    )
    words = ["+sweep=transfer", f"data.root={stripes}", f"data.cache={tmp_path}"]
    result = ablate(*words, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    said = "weights: digits.keras: loaded .*; interpolated classifier.positional_emb; kept .* classifier.fc.weight"
    assert re.search(said, result.stdout)
    assert re.search(r"digits\.keras +encoder .*(±|\[)", result.stdout)
    runs = read_runs(TrackingSpec(uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="transfer"))
    runs = runs[runs["tags.ablate.role"] == "run"]
    assert len(runs) == 6 and set(runs["tags.ablate.status"]) == {"finished"}
    started = runs[runs["params.model.weights"] == "digits.keras"]
    assert len(started) == 4 and set(started["tags.ablate.weights.head"]) == {"drawn"}
    assert started["tags.ablate.weights.digest"].str.fullmatch("[0-9a-f]{64}").all()
    assert runs[runs["params.model.weights"] == "null"]["tags.ablate.weights.digest"].isna().all()
    assert runs["tags.ablate.identity"].nunique() == 6
