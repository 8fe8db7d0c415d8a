"""What each of several processes is given of the machine."""

import os
import stat

import pytest

from ablate.sweep.devices import gpus, share, share_of_cores


@pytest.mark.parametrize(
    ("told", "found"), [("0,2,GPU-1a", ["0", "2", "GPU-1a"]), ("", []), ("-1", []), ("1, -1, 0", ["1"])]
)
def test_gpus_are_those_that_the_environment_shows(told, found):
    assert gpus({"CUDA_VISIBLE_DEVICES": told}) == found


def test_gpus_are_counted_by_the_driver_where_nothing_is_told(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho '  MIG 1g'\necho 'GPU 1: A (UUID: y)'\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert gpus({}) == ["0", "1"]
    tool.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus({}) == []


def test_workers_take_turns_at_the_gpus_and_take_memory_as_they_need_it():
    given = [share(number, ["0", "3"]) for number in range(3)]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in given] == ["0", "3", "0"]
    assert {each["TF_FORCE_GPU_ALLOW_GROWTH"] for each in given} == {"true"}
    assert {each["XLA_PYTHON_CLIENT_PREALLOCATE"] for each in given} == {"false"}


def test_workers_of_a_machine_without_gpus_are_left_alone():
    assert share(0, []) == {}


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [share_of_cores(workers) for workers in (1, 3, 16)] == [8, 2, 1]
