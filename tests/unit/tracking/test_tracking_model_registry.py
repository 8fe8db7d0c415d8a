"""The model registry: which run's model goes in, once, and what is said where none can."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ablate.data import DataSpec, load
from ablate.tasks.classify.best import best, register_best
from ablate.tracking import Store, TrackingError, TrackingSpec

INPUT = json.dumps({"shape": [8, 8, 1], "mean": [0.5], "std": [0.2], "classes": ["a", "b"], "modules": []})


def _frame(*runs):
    rows = [
        {
            "run_id": f"run{number}",
            "start_time": pd.Timestamp(number, unit="s"),
            "tags.ablate.role": "run",
            "tags.ablate.status": "finished",
            "params.train.select": "best",
            "params.data.source": "digits",
            "params.data.root": "null",
            "metrics.final.test_top1_percent": 90.0,
            **{"metrics.final.val_top1_percent": run.pop("val", float("nan")), **run},
        }
        for number, run in enumerate(runs)
    ]
    return pd.DataFrame(rows)


def test_best_is_chosen_by_validation_and_never_by_the_test_set():
    runs = [
        {"val": 70.0, "metrics.final.test_top1_percent": 99.0},
        {"val": 80.0},
        {"val": 80.0, "metrics.final.test_top1_percent": 95.0},  # a tie: the earlier one
        {"val": 99.0, "params.train.select": "test"},
        {"val": 99.0, "tags.ablate.status": "diverged"},
        {"metrics.final.test_top1_percent": 99.0},
    ]
    assert best(_frame(*runs)) == "run1"


def test_best_of_runs_that_validation_cannot_compare_is_refused():
    with pytest.raises(TrackingError, match="no finished run has one"):
        best(_frame({}).drop(columns="metrics.final.val_top1_percent"))
    for leaf in ("source", "split_seed", "val_fraction", "class_level"):
        pair = [{"val": 70.0, f"params.data.{leaf}": "1"}, {"val": 80.0, f"params.data.{leaf}": "2"}]
        with pytest.raises(TrackingError, match=f"one data set and split, but data.{leaf} is 1 and 2"):
            best(_frame(*pair))


def test_best_is_told_by_the_digest_of_the_data_and_where_there_is_none_by_the_folder():
    digest, root, size = "tags.ablate.data.digest", "params.data.root", "params.data.image_size"

    def chosen(*runs):
        return best(_frame(*({"val": 70.0 + number, **run} for number, run in enumerate(runs))))

    assert chosen({digest: "d", root: "/a"}, {digest: "d", root: "/b"}) == "run1"
    with pytest.raises(TrackingError, match="under the same settings are of 2 contents, by their digest"):
        chosen({digest: "d", root: "/a"}, {digest: "e", root: "/a"})
    old = [{root: "/a"}, {digest: "d", root: "/a"}]
    assert chosen(*old) == "run1"
    with pytest.raises(TrackingError, match=r"data.root is /a and /b, by which .* since some have no data dig"):
        chosen(*old, {digest: "d", root: "/b"})
    sizes = [{digest: "d", root: "/a", size: "[8, 8]"}, {digest: "e", root: "/a", size: "[16, 16]"}]
    assert chosen(*sizes) == "run1"
    with pytest.raises(TrackingError, match="since runs of different data settings share no digest"):
        chosen(*sizes, {digest: "e", root: "/b", size: "[16, 16]"})
    with pytest.raises(TrackingError, match="2 contents"):
        chosen(*sizes, {digest: "f", root: "/a", size: "[16, 16]"})


@pytest.fixture
def where(store_uri):
    return TrackingSpec(uri=store_uri)


def _trained(store, study, val, model=b"weights", data=None):
    """A run; with ``data``, one that recorded what it read."""
    told = {} if data is None else {"ablate.data.digest": load(data).digest}
    spec = {"data.source": "digits"} if data is None else {"data.source": data.source, "data.root": data.root}
    run = store.start_run("r", {"train.select": "best", **spec}, {"ablate.study": study, **told})
    if model is not None:
        run.artifact("model.keras", model)
        run.artifact("model.input.json", INPUT)
    run.log({"final.val_top1_percent": val})
    run.tag({"ablate.version.ablate": "0.1.0", "ablate.version.keras": "3.15.1"})
    run.finish("finished")
    return run.run_id


def _plan(where, study="s-1"):
    """What registering reads of a plan."""
    return SimpleNamespace(config=SimpleNamespace(tracking=where), study=study, sweep=SimpleNamespace(name="my/sweep"))


def test_a_sweeps_best_model_is_registered_once_with_its_signature(where):
    from mlflow.models import get_model_info

    store = Store(where)
    runs = [_trained(store, "s-1", val) for val in (70.0, 90.5, 80.0)]
    said = register_best(_plan(where), store)
    assert said == f"best by validation (90.50 %): run {runs[1]}, registered in MLflow as models:/my_sweep/1"
    assert register_best(_plan(where), store) == said  # a sweep that is resumed, and ends again
    (version,) = store._client.search_model_versions("name = 'my_sweep'")
    assert version.run_id == runs[1] and version.tags == {"ablate.study": "s-1", "ablate.val_top1_percent": "90.5000"}
    told = get_model_info(version.source.removeprefix("file://"))
    assert told.signature.inputs.to_dict()[0]["tensor-spec"] == {"dtype": "float32", "shape": (-1, 8, 8, 1)}
    assert told.signature.outputs.to_dict()[0]["tensor-spec"] == {"dtype": "float32", "shape": (-1, 2)}
    assert told.metadata["classes"] == ["a", "b"]
    wanted = Path(version.source.removeprefix("file://"), "requirements.txt").read_text("utf-8").split()
    assert wanted[-2:] == ["ablate-study[keras]==0.1.0", "keras==3.15.1"]
    better = _trained(store, "s-1", 95.0)
    assert register_best(_plan(where), store).endswith(f"run {better}, registered in MLflow as models:/my_sweep/2")


def test_a_model_that_cannot_be_registered_costs_a_sentence_and_not_the_sweep(where):
    store = Store(where)
    run = _trained(store, "s-1", 90.0, model=None)
    said = register_best(_plan(where), store)
    assert said.startswith(f"no model was registered: run {run} must hold model.keras and model.input.json")
    assert not store._client.search_registered_models()
    assert "no finished run has one" in register_best(_plan(where, "other"), store)


@pytest.fixture
def photos(tmp_path):
    for part in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for number in range(4):
                pixels = np.random.default_rng([label, number, len(part)]).integers(0, 256, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_a_copy_of_the_photos_is_the_same_data_and_photos_that_were_changed_in_place_are_not(where, photos, tmp_path):
    def spec(root):
        return DataSpec(source="folder", root=str(root), val_fraction=0.25, cache=str(tmp_path / "cache"))

    store, copy = Store(where), tmp_path / "copy"
    shutil.copytree(photos, copy)
    _trained(store, "s-1", 70.0, data=spec(photos))
    run = _trained(store, "s-1", 80.0, data=spec(copy))
    assert register_best(_plan(where), store).endswith(f"run {run}, registered in MLflow as models:/my_sweep/1")
    Image.fromarray(np.full((4, 4, 3), 7, np.uint8)).save(photos / "train" / "cat" / "0.png")
    _trained(store, "s-1", 99.0, data=spec(photos))
    assert register_best(_plan(where), store) == (
        "no model was registered: the best is chosen on one data set and split, but the images that were read under "
        "the same settings are of 2 contents, by their digest."
    )
    assert len(store._client.search_model_versions("name = 'my_sweep'")) == 1
