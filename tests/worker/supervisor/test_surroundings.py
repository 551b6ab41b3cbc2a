"""What surrounds a training process: its environment, its folders, and the slots that it runs in."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.settings import Settings
from worker.supervisor.device import _all_gpus, claimable_devices, detect_device, gpus_of, num_slots, queues_of
from worker.supervisor.environment import training_environment
from worker.supervisor.places import Places
from worker.supervisor.scratch import Scratch
from worker.supervisor.slots import Slots


def test_no_address_and_no_key_of_ours_reaches_a_training_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secrets = {
        "PRETUNE_DATABASE_URL": "postgresql://user:word@host/db",
        "PRETUNE_BROKER_URL": "redis://host",
        "CELERY_BROKER_URL": "redis://host",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "SOME_TOKEN": "secret",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CUDA_HOME", "/cuda")
    made = training_environment(Settings(data_dir=tmp_path, threads=3, device="cuda"))
    assert set(made) & set(secrets) == set()
    assert (made["CUDA_HOME"], made["OMP_NUM_THREADS"]) == ("/cuda", "3")
    assert made["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "cache" / "compiled" / "inductor")
    assert "CUDA_VISIBLE_DEVICES" not in made
    assert training_environment(Settings(device="cpu"))["CUDA_VISIBLE_DEVICES"] == ""
    assert training_environment(Settings(device="cuda"), "GPU-b")["CUDA_VISIBLE_DEVICES"] == "GPU-b"


def test_the_cores_are_shared_between_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.supervisor.environment.usable_cores", lambda: 8)
    threads = [training_environment(Settings(slots=slots))["OMP_NUM_THREADS"] for slots in (1, 2, 3, 16)]
    assert threads == ["8", "4", "2", "1"]


def test_a_trainer_with_a_gpu_runs_everything_and_hears_of_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (detect_device("cuda"), detect_device("cpu")) == ("cuda", "cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert detect_device(None) == "cpu"
    assert set(claimable_devices("cuda")) == {"auto", "cpu", "cuda"}
    assert set(claimable_devices("cpu")) == {"auto", "cpu"}
    assert (set(queues_of("cuda")), set(queues_of("cpu"))) == ({"gpu", "cpu"}, {"cpu"})


@pytest.mark.parametrize(
    ("visible", "gpus", "slots"),
    [
        (None, ("GPU-a", "GPU-b"), 2),
        ("3", ("3",), 1),
        ("GPU-b, MIG-c,1", ("GPU-b", "MIG-c", "1"), 3),
        ("", (), 1),
    ],
)
def test_a_trainer_has_a_slot_for_each_gpu_that_it_may_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, visible: str | None, gpus: tuple[str, ...], slots: int
) -> None:
    """No GPU is here: a program that answers as nvidia-smi does stands for the driver."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho GPU-a\necho GPU-b\n")
    program.chmod(0o755)
    monkeypatch.setattr("worker.supervisor.device.LIST_GPUS", (str(program),))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    _all_gpus.cache_clear()
    try:
        assert gpus_of("cuda") == gpus
        assert (num_slots(Settings(device="cuda")), num_slots(Settings(device="cuda", slots=5))) == (slots, 5)
        assert (gpus_of("cpu"), num_slots(Settings(device="cpu"))) == ((), 1)
    finally:
        _all_gpus.cache_clear()


def test_a_place_is_lent_to_as_few_as_can_be() -> None:
    places = Places(["GPU-a", "GPU-b"])
    with places.one() as first, places.one() as second:
        assert (first, second) == ("GPU-a", "GPU-b")
        with places.one() as third:
            assert third == "GPU-a"
    with places.one() as again:
        assert again == "GPU-a"


def test_scratch_of_dead_trainers_is_swept_and_that_of_living_ones_stays(tmp_path: Path) -> None:
    """A trainer that was killed leaves its folder; its lock went with it."""
    code = (
        "import os, signal, sys; from pathlib import Path; from worker.supervisor.scratch import Scratch\n"
        "scratch = Scratch(Path(sys.argv[1]), 'wrk_killed'); scratch.new_log().touch()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    living, other = Scratch(tmp_path, "wrk_living"), Scratch(tmp_path, "wrk_other")
    with living.attempt("job", 1) as folder:
        assert sorted(path.name for path in (tmp_path / "trainers").iterdir()) == [
            "wrk_killed",
            "wrk_living",
            "wrk_other",
        ]
        other.sweep()
        assert folder.exists()
    assert sorted(path.name for path in (tmp_path / "trainers").iterdir()) == ["wrk_living", "wrk_other"]
    assert not folder.exists()
    living.close()
    other.close()
    assert list((tmp_path / "trainers").iterdir()) == []


def test_no_more_jobs_than_slots_run_and_none_is_overheard() -> None:
    """Two slots, four callers, jobs that arrive while others run: all run, never three at a time."""
    waiting, running, most = list(range(20)), 0, 0
    lock = threading.Lock()

    def run_next() -> bool:
        nonlocal running, most
        with lock:
            if not waiting:
                return False
            waiting.pop()
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1
        return True

    slots = Slots(2, run_next, threading.Event())
    callers = [threading.Thread(target=slots.fill) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert (waiting, running, most) == ([], 0, 2)


def test_a_call_that_finds_no_free_slot_makes_its_holder_look_again() -> None:
    """The job comes after the holder's last look and before it frees its slot: nobody else will look."""
    jobs: list[str] = []
    looks = []

    def run_next() -> bool:
        looks.append(len(jobs))
        if not jobs and len(looks) == 1:
            jobs.append("late")
            slots.fill()
            return False
        return bool(jobs) and bool(jobs.pop())

    slots = Slots(1, run_next, threading.Event())
    slots.fill()
    assert jobs == []
    assert looks == [0, 1, 0]


def test_the_trainer_loads_no_torch() -> None:
    code = "import sys, worker.celery_app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
