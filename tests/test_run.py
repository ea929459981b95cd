"""Config, ledger and run folder: what is on disk stays right, and what is wrong is named."""

from __future__ import annotations

import errno
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from ghostgo.data.config import dump_toml, from_mapping, read_toml
from ghostgo.data.ledger import Ledger, Timer, Totals, read_ledger
from ghostgo.data.run import Run, find_checkpoint, list_runs, load_network, load_state
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.selfplay.config import FOR_GAME, PRESETS, RunConfig, make_config
from ghostgo.selfplay.loop import reopen


def make_run(root: Path, name: str = "r", steps: int = 2) -> Run:
    network = Network(get_game("tic_tac_toe"), NetworkConfig(1, 8))
    with Run.creating(root / name, "tic_tac_toe", 0, dump_toml(RunConfig())) as fresh:
        for step in range(steps):
            totals = Totals(selfplay_flops=10.0 * step)
            state = {"x": torch.ones(2) * step}
            fresh.save_checkpoint(step, network, {"totals": totals.to_dict()}, state)
    return Run.open(root / name)


# -- config ------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_config_survives_toml(tmp_path: Path, preset: str) -> None:
    config = make_config({"selfplay": {"rules": {"komi": 5.5}}}, preset=preset, seed=7)
    (tmp_path / "c.toml").write_text(dump_toml(config))
    assert from_mapping(RunConfig, read_toml(tmp_path / "c.toml")) == config


def test_given_options_win_over_the_file_and_the_file_over_the_preset() -> None:
    config = make_config({"seed": 3, "selfplay": {"visits": 5}}, preset="tiny", seed=9)
    assert config.seed == 9 and config.selfplay.visits == 5
    assert config.selfplay.games == PRESETS["tiny"]["selfplay"]["games"]


def test_a_game_has_its_own_settings_and_a_file_wins_over_them() -> None:
    own, plain = FOR_GAME["connect_four"], RunConfig()
    for preset in PRESETS:
        config = make_config(game="connect_four", preset=preset)
        assert config.search.c_scale == own["search"]["c_scale"] != plain.search.c_scale
        wanted = own["selfplay"]["samples_per_position"]
        assert config.selfplay.samples_per_position == wanted
    assert make_config({"game": "connect_four"}).search == config.search
    assert make_config(game="go9").search == plain.search
    from_file = make_config({"search": {"c_scale": 0.5}}, game="connect_four")
    assert from_file.search.c_scale == 0.5
    assert from_file.selfplay.samples_per_position == wanted


def test_a_run_from_before_a_switch_goes_on_without_it(tmp_path: Path) -> None:
    config, file = make_config(game="tic_tac_toe"), make_run(tmp_path).folder / "config.toml"
    file.write_text(dump_toml(config))
    assert reopen(file.parent, None, None, None)[1] == config
    lines = file.read_text().splitlines()
    older = [line for line in lines if not line.startswith(("decided_share", "score_cdf"))]
    assert len(older) == len(lines) - 2
    file.write_text("\n".join(older))
    found = reopen(file.parent, None, None, None)[1]
    assert found.selfplay.decided_share == found.learner.score_cdf == 0 < config.learner.score_cdf
    idle = {
        "sampled_moves = 0": "sampled_moves = 8",
        "dirichlet_weight = 0.25": "dirichlet_weight = 0.5",
    }
    text = file.read_text()
    for now, then in idle.items():
        assert now in text
        text = text.replace(now, then)
    file.write_text(text)
    assert reopen(file.parent, None, None, None)[1] == found, "a Gumbel root passed over them"


def test_an_iteration_grows_with_the_board() -> None:
    sizes = [
        make_config(game=game).selfplay.positions_per_iteration
        for game in ("tic_tac_toe", "connect_four", "go9")
    ]
    assert sizes == [1024, 4200, 8100]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sede": 1}, "unknown key 'sede'; did you mean seed"),
        ({"selfplay": {"visit": 3}}, "did you mean visits"),
        ({"seed": "one"}, "'one' is not of type int"),
        ({"seed": True}, "not of type int"),
        ({"preset": "huge"}, "one of: tiny, cpu, gpu"),
        ({"preset": ["cpu"]}, "one of: tiny, cpu, gpu"),
        ({"game": ["go9"]}, "is not of type str"),
        ({"search": {"root": "ucb"}}, "not one of: gumbel, puct"),
        ({"selfplay": 3}, "is not a table"),
        ({"selfplay": {"visits": 1}}, "at least 2"),
        ({"selfplay": {"rules": {"komy": 1}}}, "unknown rule 'komy'"),
        ({"game": "go99"}, "not between 2x2 and 19x19"),
        ({"game": "chess"}, "unknown"),
    ],
)
def test_wrong_config_is_one_sentence(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make_config(values)
    assert "\n" not in str(caught.value)


def test_config_file_that_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("a = = 1")
    with pytest.raises(UserError, match="is not TOML"):
        read_toml(tmp_path / "c.toml")
    with pytest.raises(UserError, match="cannot be read"):
        read_toml(tmp_path / "missing.toml")


# -- ledger ------------------------------------------------------------------------------------


def test_ledger_adds_up_and_survives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.append("imitation", imitation_flops=100.0, samples=10)
    ledger.append("selfplay", selfplay_flops=7.0, evaluations=3, games=2)
    with path.open("a") as file:
        file.write('{"format": 1, "phase": "selfpl')
    again = Ledger(path)
    assert again.totals == ledger.totals
    assert again.totals.flops == 107.0
    again.append("training", training_flops=1.0)
    assert [row["phase"] for row in read_ledger(path)] == ["imitation", "selfplay", "training"]


def test_core_seconds_add_up_and_what_was_not_measured_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.append("imitation", seconds=2.0, core_seconds=3.5)
    ledger.append("selfplay", games=2)
    ledger.append("training", seconds=1.0, core_seconds=0.5)
    assert ledger.totals.core_seconds == Ledger(path).totals.core_seconds == 4.0
    assert Totals.from_dict(ledger.totals.to_dict()) == ledger.totals
    with path.open("a") as file:  # as versions before wrote it
        file.write('{"format": 1, "phase": "selfplay", "of": "", "games": 1, "seconds": 1.5}\n')
    again = Ledger(path)
    again.append("training", seconds=1.0, core_seconds=0.5)
    assert again.totals.core_seconds is None and again.totals.seconds == 5.5
    assert again.totals.games == 3
    assert Totals.from_dict(again.totals.to_dict()) == again.totals
    assert Totals.from_dict({"seconds": 3.0, "flops": 1.0}).core_seconds is None
    assert Totals.from_dict({"selfplay_flops": 1.0}).core_seconds == 0.0


def test_a_timer_counts_the_cores_of_all_threads() -> None:
    def work() -> float:
        begun, total = time.thread_time(), 0
        while time.thread_time() - begun < 0.05:
            total += 1
        return time.thread_time() - begun

    timer = Timer()
    with ThreadPoolExecutor(2) as pool:
        worked = sum(future.result() for future in [pool.submit(work), pool.submit(work)])
    amounts = timer.amounts()
    assert set(amounts) == {"seconds", "core_seconds"}
    assert amounts["core_seconds"] >= worked - 0.002 and amounts["seconds"] > 0


def test_ledger_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with pytest.raises(ValueError, match="joules"):
        Ledger(path).append("selfplay", joules=1.0)
    path.write_text('{"format": 9}\n')
    with pytest.raises(UserError, match="format 9"):
        Ledger(path)
    for damaged in (b"xx", b"7", b"\xff\xfe"):
        path.write_bytes(b'{"format": 1}\n' + damaged + b'\n{"format": 1}\n')
        with pytest.raises(UserError, match="line 2"):
            Ledger(path)


def test_ledger_on_a_full_disk_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.append("selfplay", games=2)
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("ghostgo.data.ledger.os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        ledger.append("selfplay", games=2)
    assert path.read_bytes() == before and ledger.totals.games == 2


# -- run folder --------------------------------------------------------------------------------


def test_checkpoints_round_trip_and_are_found_by_name(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=3)
    assert [info.step for info in run.checkpoints()] == [0, 1, 2]
    latest = find_checkpoint("r", tmp_path)
    assert latest.step == 2 and latest.totals.flops == 20 and latest.run == "r"
    assert find_checkpoint("r@1", tmp_path).step == 1
    assert find_checkpoint(str(latest.path)).step == 2
    assert find_checkpoint(str(run.folder)).step == 2
    state = load_state(latest)
    assert state is not None and (state["x"] == 2).all()
    assert load_network(latest.path).config == NetworkConfig(1, 8)
    assert list_runs(tmp_path) == ["r"]


def test_prune_keeps_milestones_without_their_state(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=5)
    run.prune({1})
    assert [info.step for info in run.checkpoints()] == [1, 3, 4]
    assert [load_state(info) is None for info in run.checkpoints()] == [True, False, False]
    run.prune({1}, newest=1)
    assert [info.step for info in run.checkpoints()] == [1, 4]


def test_a_checkpoint_lasts_before_another_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, flushed = make_run(tmp_path), list[tuple[Path, list[str]]]()

    def noted(folder: Path) -> None:
        flushed.append((folder, sorted(path.name for path in folder.iterdir())))

    monkeypatch.setattr("ghostgo.data.run.flush_folder", noted)
    run.save_checkpoint(2, load_network(run.latest().path), {"totals": Totals().to_dict()})
    assert flushed == [(run.folder / "checkpoints", ["00000000", "00000001", "00000002"])]


@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt", "meta.json"])
@pytest.mark.parametrize("left", [0, 10])
def test_a_damaged_newest_checkpoint_is_set_apart(tmp_path: Path, name: str, left: int) -> None:
    run = make_run(tmp_path, steps=3)
    assert run.set_damaged_apart() == ""
    file = run.latest().path / name
    file.write_bytes(file.read_bytes()[:left])
    assert run.set_damaged_apart() == "", "no game was played: what is damaged is a prior"
    (run.shards / "000001.h5").touch()
    told = run.set_damaged_apart()
    assert told.startswith(f"{file}: is damaged") and "\n" not in told
    assert "goes on from checkpoint 1, not exactly" in told
    assert run.latest().step == 1 and (file.parent.with_suffix(".damaged") / name).exists()
    assert run.set_damaged_apart() == ""
    (run.checkpoints()[0].path / "state.pt").unlink()  # and it is not the start of a run
    file = run.latest().path / name
    file.write_bytes(b"")
    assert run.set_damaged_apart() == "" and file.exists()


def test_a_kill_while_pruning_leaves_no_half_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, steps=4)

    class Killed(BaseException):
        pass

    def cut_short(path: Path, ignore_errors: bool = False) -> None:
        if path.exists():
            (path / "meta.json").unlink()
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("ghostgo.data.run.shutil.rmtree", cut_short)
        with pytest.raises(Killed):
            run.prune(set())
    again = Run.open(run.folder)
    assert [info.step for info in again.checkpoints()] == [1, 2, 3]
    again.prune(set())
    left = sorted(path.name for path in (run.folder / "checkpoints").iterdir())
    assert left == ["00000002", "00000003"]


def test_a_run_that_could_not_be_filled_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Run.creating(tmp_path / "r", "go5", 0, ""):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    make_run(tmp_path)
    with (
        pytest.raises(UserError, match="exists already"),
        Run.creating(tmp_path / "r", "go5", 0, ""),
    ):
        pass
    assert find_checkpoint("r", tmp_path).step == 1


def test_damage_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    latest = run.latest().path
    weights = latest / "weights.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[: len(good) // 2])
    with pytest.raises(UserError, match="is damaged: its checksum"):
        load_network(latest)
    weights.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        load_network(latest)
    (latest / "state.pt").write_bytes(b"no state")
    with pytest.raises(UserError, match=r"state\.pt: is damaged"):
        load_state(run.latest())
    (latest / "meta.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        run.latest()


def test_newer_formats_and_other_rules_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    meta_file = run.latest().path / "meta.json"
    meta = json.loads(meta_file.read_text())
    meta_file.write_text(json.dumps({**meta, "game_version": 99}))
    with pytest.raises(UserError, match="version 99"):
        load_network(run.latest().path)
    meta_file.write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(UserError, match="newer ghostgo"):
        run.latest()
    (run.folder / "run.json").write_text('{"format": 99}')
    with pytest.raises(UserError, match="newer ghostgo"):
        Run.open(run.folder)


def test_what_is_no_run_is_refused_with_the_runs_there_are(tmp_path: Path) -> None:
    make_run(tmp_path, "alpha")
    with pytest.raises(UserError, match="runs in .*: alpha"):
        find_checkpoint("beta", tmp_path)
    with pytest.raises(UserError, match="after @"):
        find_checkpoint("alpha@x", tmp_path)
    with pytest.raises(UserError, match="is not a run"):
        Run.open(tmp_path)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with run.lock(), pytest.raises(UserError, match="another process"):
        run.lock()
    run.lock().release()


def test_full_disk_leaves_older_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path)
    network = load_network(run.latest().path)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("ghostgo.data.shards.os.fsync", full)
    with pytest.raises(UserError, match="disk is full"):
        run.save_checkpoint(2, network, {"totals": Totals().to_dict()})
    assert [info.step for info in run.checkpoints()] == [0, 1]
    assert sorted(p.name for p in (run.folder / "checkpoints").iterdir()) == [
        "00000000",
        "00000001",
    ]


def test_two_that_make_one_run_do_not_meet(tmp_path: Path) -> None:
    """Who comes second is told so, and what the first has made stays as it is."""
    with Run.creating(tmp_path / "r", "go5", 1, "") as first:
        (first.folder / "mine").write_text("1")
        with (
            pytest.raises(UserError, match="is being made by another process"),
            Run.creating(tmp_path / "r", "go5", 2, ""),
        ):
            raise AssertionError("both make it")
        assert (first.folder / "mine").read_text() == "1"
    run = Run.open(tmp_path / "r")
    assert run.header["seed"] == 1 and (run.folder / "mine").exists()
    run.lock().release()
    with (
        pytest.raises(UserError, match="exists already"),
        Run.creating(tmp_path / "r", "go5", 2, ""),
    ):
        raise AssertionError("made twice")


def test_what_a_kill_left_of_a_new_run_is_swept(tmp_path: Path) -> None:
    left = tmp_path / ".creating-r"
    (left / "checkpoints" / "00000000").mkdir(parents=True)
    (left / "records").mkdir()
    (left / "stray").write_text("x")
    with Run.creating(tmp_path / "r", "go5", 1, "") as fresh:
        assert not (fresh.folder / "records").exists() and not (fresh.folder / "stray").exists()
        assert not any((fresh.folder / "checkpoints").iterdir())
    assert not left.exists()
