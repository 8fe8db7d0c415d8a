"""One run from the command line to the record."""

import logging
import re

import numpy as np
import pytest
from PIL import Image

from ablate.tracking import TrackingSpec, read_runs
from ablate.tracking.correctness import unpacked, unpacked_clusters
from tests.e2e.test_cli import ablate

TINY = ["model=tiny", "data=digits", "train.epochs=2", "tracking.log_model=false"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, ablate(*TINY, "seed=3", cwd=folder)


def test_run_prints_a_line_an_epoch_and_the_test_result_once(trained):
    _, result = trained
    assert result.returncode == 0, result.stderr
    assert len(re.findall(r"^epoch +\d/2 .*val +[\d.]+ %", result.stdout, re.M)) == 2
    assert len(re.findall(r"test [\d.]+ %", result.stdout)) == 1


def test_run_leaves_its_record_in_the_default_store(trained):
    folder, _ = trained
    runs = read_runs(TrackingSpec(uri=f"sqlite:///{folder}/mlflow.db"))
    assert len(runs) == 1
    run = runs.iloc[0]
    assert run["params.model.positional"] == "learnable"
    assert run["params.model.dim"] == "32"
    assert run["params.seeds.init"] == run["params.seeds.order"] == run["params.seeds.dropout"] == "3"
    assert 0 <= run["metrics.final.test_top1_percent"] <= 100
    assert run["metrics.cost.tokens"] == 16
    assert re.fullmatch(r"[0-9a-f]{64}", run["tags.ablate.identity"])


def test_run_keeps_configuration_and_predictions_as_artifacts(trained):
    folder, _ = trained
    assert "layers: 1" in next(folder.glob("**/artifacts/config.yaml")).read_text()
    predictions = np.load(next(folder.glob("**/artifacts/test_predictions.npz")))
    assert predictions["label"].shape == predictions["predicted"].shape
    assert not list(folder.glob("**/artifacts/augmented.png"))  # of images that nothing is done to there is no sheet
    assert next(folder.glob("outputs/*/*/.hydra/overrides.yaml")).read_text().count("model=tiny") == 1


@pytest.mark.parametrize("foreseen", [True, False])
def test_run_shows_a_traceback_on_the_terminal_only_where_nobody_foresaw_its_failure(
    tmp_path, monkeypatch, store_uri, caplog, foreseen
):
    from ablate.config.compose import compose, to_config
    from ablate.tasks.classify import record

    def fault(*args, **options):
        raise ValueError("a library's")

    if not foreseen:
        monkeypatch.setattr(record, "run", fault)
    monkeypatch.chdir(tmp_path)
    words = ["model=tiny", "data=folder", "data.root=nowhere", "train.epochs=1", f"tracking.uri={store_uri}"]
    with pytest.raises(ValueError, match="data.root must name" if foreseen else "a library's"):
        record.train_one(to_config(compose(words)))
    shown = [record.levelname for record in caplog.records if record.exc_info and record.levelno >= logging.WARNING]
    assert shown == ([] if foreseen else ["ERROR"])
    assert "Traceback" in next(tmp_path.rglob("traceback.txt")).read_text()


def test_run_keeps_what_of_its_images_was_not_read(tmp_path, monkeypatch, store_uri, capsys):
    from ablate.config.compose import compose, to_config
    from ablate.tasks.classify.record import train_one

    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(f"{part}/{label}" for part in ("train", "test") for label in "ab"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(2):
            pixels = np.full((8, 8, 3), 50 * number + i, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    (tmp_path / "images/train/a/2.png").write_text("damaged")
    words = ["model=tiny", "data=folder", "data.root=images", "data.cache=cache", "data.skip_unreadable=true"]
    words += [
        "train.epochs=1",
        "train.batch_size=2",
        "data.val_fraction=0.5",
        "tracking.log_model=false",
        f"tracking.uri={store_uri}",
    ]
    assert train_one(to_config(compose(words))) == 0
    run = read_runs(TrackingSpec(uri=store_uri)).iloc[0]
    assert run["params.data.skip_unreadable"] == "true"
    noted = run["tags.ablate.data.notes"].splitlines()
    assert noted[0].startswith("not read: damaged images, by data.skip_unreadable=true (1): train/a/2.png could not be")
    said = capsys.readouterr().err
    assert all(said.count(note) == 1 for note in noted)
    assert "tags.ablate.right" in run and "tags.ablate.clusters" not in run


def test_run_keeps_which_test_images_lie_in_one_folder(tmp_path, monkeypatch, store_uri):
    from ablate.config.compose import compose, to_config
    from ablate.tasks.classify.record import train_one

    monkeypatch.chdir(tmp_path)
    names = [f"train/{label}/{number}" for label in "ab" for number in (1, 2)]
    names += ["test/a/cup/1", "test/a/cup/2", "test/a/jug/1", "test/b/1"]
    for number, name in enumerate(names):
        (path := tmp_path / "images" / f"{name}.png").parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 20 * number, np.uint8)).save(path)
    words = ["model=tiny", "data=folder", "data.root=images", "data.cache=cache", "data.val_fraction=0.5"]
    words += ["train.epochs=1", "train.batch_size=2", "tracking.log_model=false", f"tracking.uri={store_uri}"]
    assert train_one(to_config(compose(words))) == 0
    run = read_runs(TrackingSpec(uri=store_uri)).iloc[0].to_dict()
    assert unpacked_clusters(run).tolist() == [1, 1, 2, 3] and len(unpacked(run)[1]) == 4


def test_run_that_diverges_says_where_and_keeps_its_record(tmp_path):
    result = ablate(*TINY, "train.lr=1e30", "train.warmup_epochs=0", "augment=paper", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "diverged" in result.stdout and "learning rate" in result.stdout
    run = read_runs(TrackingSpec(uri=f"sqlite:///{tmp_path}/mlflow.db")).iloc[0]
    assert run["tags.ablate.status"] == "diverged"
    assert next(tmp_path.glob("**/artifacts/augmented.png")).read_bytes().startswith(b"\x89PNG")


def test_plugin_variant_trains_and_is_costed_by_name(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from ablate import Params, Positional, register\n"
        "def layer(spec, geometry):\n"
        "    import keras\n"
        "    class Scaled(keras.layers.Layer):\n"
        "        def build(self, shape):\n"
        "            self.row = self.add_weight(shape=(1, 1, shape[-1]), initializer='zeros', name='row')\n"
        "        def call(self, x):\n"
        "            return x + spec.variant('positional').scale * self.row\n"
        "    return Scaled(name='positional')\n"
        "@register('positional', 'scaled', layer=layer)\n"
        "@dataclass\n"
        "class Scaled(Positional):\n"
        "    scale: float = 1.0\n"
        "    def params(self, model, geometry):\n"
        "        return Params(trainable=model.width)\n"
    )
    words = [*TINY, "plugins=[mine]", "model.positional=scaled", "train.epochs=1"]
    result = ablate(*words, "+model.options.positional.scale=2.0", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    run = read_runs(TrackingSpec(uri=f"sqlite:///{tmp_path}/mlflow.db")).iloc[0]
    assert run["params.model.positional"] == "scaled"
    assert run["params.model.options.positional.scale"] == "2.0"
    wrong = ablate(*words, "+model.options.positional.scales=2.0", cwd=tmp_path)
    assert wrong.returncode == 2 and "it has scale" in wrong.stderr
