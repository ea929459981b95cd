"""The report's board: positions by our rules, which games it holds, and the page in a browser."""

from __future__ import annotations

import html
import importlib.util
import itertools
import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sizes import sized

from ghostgo import cli
from ghostgo.arena import gallery
from ghostgo.arena.arena import run_arena
from ghostgo.arena.gallery import (
    changes,
    choose_games,
    first_stones,
    make_gallery,
)
from ghostgo.arena.league import League
from ghostgo.arena.results import (
    GameResult,
    PairResult,
    PlayerInfo,
    outcome_words,
    read_results,
)
from ghostgo.arena.viewer import viewer_html
from ghostgo.data.run import Run
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.session import Session

OPENSPIEL = importlib.util.find_spec("pyspiel") is not None
TAKING = {"go5", "go4x7", "othello"}
NATIVE = ["go5", "go4x7", "connect_four", "gomoku9", "hex5", "othello", "tic_tac_toe"]
BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
     if (found := shutil.which(name))), None,
)  # fmt: skip


def board_after(start: list[int], diffs: list[list[int]], count: int, points: int) -> list[int]:
    """What the page's script does: changes one over the other."""
    board = [0] * points
    for change in [*start, *(change for ply in diffs[:count] for change in ply)]:
        board[change // 3] = change % 3
    return board


def board_of(session: Session) -> list[int]:
    stones = session.stones()
    return [int(stone) for stone in np.where(stones < 0, 2, stones)]


@pytest.mark.parametrize("name", NATIVE)
def test_positions_are_those_of_our_rules(name: str) -> None:
    game, rng = get_game(name), np.random.default_rng(4)
    start, taken, turned = first_stones(game, game.rules), 0, 0
    for _ in range(4):
        session = Session(game)
        boards = [board_of(session)]
        while not session.over:
            session.play(int(rng.choice(game.legal_actions(session.state))))
            boards.append(board_of(session))
        diffs = changes(game, game.rules, [action for _, action in session.moves])
        assert diffs is not None and len(diffs) == len(boards) - 1
        for count, board in enumerate(boards):
            assert board_after(start, diffs, count, game.points) == board
        for count, ply in enumerate(diffs):
            taken += sum(change % 3 == 0 for change in ply)
            turned += max(len(ply) - 1, 0)
            if ply and ply[0] % 3:
                assert boards[count][ply[0] // 3] == 0, "the stone that was put down comes first"
    assert (taken > 0) == name.startswith(("go5", "go4")) and (turned > 0) == (name in TAKING)
    assert len(start) == (4 if name == "othello" else 0)


def test_other_rules_and_illegal_moves() -> None:
    game = get_game("go5")
    moves = [game.parse_action(move) for move in ("A2", "A1", "B1", "E5", "A1", "pass", "pass")]
    diffs = changes(game, game.rules, moves)
    assert diffs is not None and diffs[5] == diffs[6] == []
    point = {name: game.parse_action(name) for name in ("A1", "B1")}
    assert diffs[2] == [3 * point["B1"] + 1, 3 * point["A1"]], "White's stone is taken"
    assert changes(game, game.rules, [*moves[:2], moves[1]]) is None
    assert changes(game, {**game.rules, "move_limit": 3}, moves) is None


def result(moves: int, first: int = 0, **more: Any) -> GameResult:
    given: dict[str, Any] = {
        "points": 1.0, "score": 3.5, "end": "score", "note": "", "seconds": (0.0, 0.0),
        "evaluations": (0, 0), "flops": (0.0, 0.0), **more,
    }  # fmt: skip
    return GameResult(first=first, moves=tuple(range(moves)), **given)


def pairs_between(meetings: dict[str, int], moves: int = 4) -> list[PairResult]:
    """So many pairs of games of each two players, named by a letter each, oldest first."""
    game, found = get_game("go5"), []
    for names, count in meetings.items():
        a, b = (PlayerInfo(name, "mcts", {"rollouts": ord(name)}) for name in names)
        for k in range(count):
            games = (result(moves), result(moves, 1))
            found.append(PairResult(f"{names}{k}", "go5", 1, game.rules, 0, (0, 1), a, b, games))
    return found


def test_the_newest_games_of_every_pairing_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = pairs_between({"ab": 30, "bc": 1, "ac": 3})
    assert len(choose_games(pairs)) == 68
    monkeypatch.setattr(gallery, "MOST_GAMES", 9)
    chosen = [pair.pair for pair, _ in choose_games(pairs)]
    assert Counter(chosen) == {"ab29": 2, "ab28": 1, "bc0": 2, "ac2": 2, "ac1": 2}
    assert chosen[:3] == ["ac2", "bc0", "ab29"]
    monkeypatch.setattr(gallery, "MOST_PLIES", 5 * 4)
    assert len(choose_games(pairs)) == 5
    assert choose_games([]) == []


def league_of(pairs: list[PairResult]) -> League:
    game = get_game("go5")
    infos = list({info.identity: info for pair in pairs for info in (pair.a, pair.b)}.values())
    league = League(game, game.rules, infos, len(infos))
    league.extend(pairs)
    return league


def test_the_page_says_which_games_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    league = league_of(pairs_between({"ab": 3, "bc": 2}))
    found = make_gallery(league, league.fit(0))
    assert found is not None and found["left_out"] == found["illegal"] == 0
    assert "All 10 games are here" in viewer_html(found)
    monkeypatch.setattr(gallery, "MOST_GAMES", 4)
    found = make_gallery(league, league.fit(0))
    assert found is not None and (len(found["games"]), found["left_out"]) == (4, 6)
    page = viewer_html(found)
    assert "4 of 10 games are here" in page and "are 6 older ones" in page
    assert {each["id"] for each in found["games"]} == {"ab2/1", "ab2/2", "bc1/1", "bc1/2"}
    names = found["players"]
    sides = {each["id"]: [names[i] for i in each["who"]] for each in found["games"]}
    assert sides["ab2/1"] == ["a", "b"] and sides["ab2/2"] == ["b", "a"]
    assert {each["result"] for each in found["games"]} == {"Black by 3.5", "White by 3.5"}


def test_a_game_that_breaks_the_rules_is_counted_not_shown() -> None:
    pairs = pairs_between({"ab": 2})
    broken = result(4, 1)
    broken = GameResult(**{**broken.__dict__, "moves": (0, 0, 1, 2)})
    pairs[1] = PairResult(**{**pairs[1].__dict__, "games": (pairs[1].games[0], broken)})
    league = league_of(pairs)
    found = make_gallery(league, league.fit(0))
    assert found is not None and (len(found["games"]), found["illegal"]) == (3, 1)
    assert "1 could not be replayed by the rules" in viewer_html(found)


def test_names_and_notes_cannot_leave_their_place() -> None:
    evil = PlayerInfo("</script><b>x", "gtp", {"command": "x"})
    pairs = pairs_between({"ab": 1})
    game = result(4, points=0.0, score=None, end="forfeit", note="</script><script>" * 50)
    pairs[0] = PairResult(**{**pairs[0].__dict__, "a": evil, "games": (game, pairs[0].games[1])})
    league = league_of(pairs)
    found = make_gallery(league, league.fit(0))
    page = viewer_html(found)
    (data,) = re.findall(r'id="games-data">(.*?)</script>', page)
    assert json.loads(data) == found and "<" not in data
    assert found is not None and found["games"][0]["result"] == "White by forfeit"
    assert len(found["games"][0]["note"]) == gallery.MOST_NOTE


@pytest.mark.skipif(not OPENSPIEL, reason="OpenSpiel is not installed")
@pytest.mark.filterwarnings("ignore:Code running in object mode")
def test_a_game_without_stones_has_no_board(tmp_path: Path) -> None:
    command = ["arena", "--a", "", "--b", "", "--game", "openspiel:nim", "--games", "4"]
    assert cli.run([*command, "--out", str(tmp_path)]) == 0
    assert "not stones on points" in (tmp_path / "arena.html").read_text()


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an arena of small Go that the command line made."""
    out, game = tmp_path_factory.mktemp("arena"), sized("go5", "go3")
    command = ["arena", "--a", "", "--b", "", "--game", game, "--games", "16", "--out", str(out)]
    assert cli.run([*command, "--player", "ten=mcts:10"]) == 0
    return out


def test_every_rated_game_is_on_the_page(arena: Path) -> None:
    page = (arena / "arena.html").read_text()
    (data,) = re.findall(r'<script type="application/json" id="games-data">(.*?)</script>', page)
    found = json.loads(data)
    rated = {
        f"{pair.pair}/{1 + k}": (pair, game)
        for pair in read_results(arena / "results.jsonl")
        for k, game in enumerate(pair.games)
    }
    assert {each["id"] for each in found["games"]} == set(rated) and len(rated) == 16
    for each in found["games"]:
        pair, game = rated[each["id"]]
        names = [found["players"][i] for i in each["who"]]
        assert names == [info.name for info in ((pair.a, pair.b), (pair.b, pair.a))[game.first]]
        assert each["moves"] == list(game.moves) and each["given"] == len(pair.opening)
        said = {1.0: "Black", 0.5: "draw", 0.0: "White"}[game.first_result]
        assert each["result"].startswith(said)
    assert not re.search(r"(src|href)=.?https?:", page.rsplit("<body>", 1)[1])


ASK = """<script>
const answers = [];
const text = (name) => document.querySelector(".viewer ." + name).textContent;
const note = (what) => answers.push([what, text("said"), text("who"),
  [...document.querySelectorAll(".viewer .stone")].map((stone) =>
    [stone.getAttribute("cx"), stone.getAttribute("cy"), stone.classList[1]].join(" ")).sort()]);
const key = (name) => document.body.dispatchEvent(
  new KeyboardEvent("keydown", {key: name, bubbles: true, cancelable: true}));
note("opened");
key("ArrowRight"); key("ArrowRight"); key("ArrowLeft"); note("one on");
for (const name of ["end", "back", "start", "on"]) {
  document.querySelector(".viewer ." + name).click(); note(name);
}
for (let i = 0; i < 3; i++) key("ArrowLeft");
note("no further");
const cell = [...document.querySelectorAll("table.cross td.has")][0];
cell.click();
note(cell.title);
const out = document.createElement("pre");
out.id = "answers";
out.textContent = JSON.stringify([answers, document.querySelectorAll(".viewer .list li").length]);
document.body.append(out);
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome here")
@pytest.mark.parametrize("name", ["go5", "othello"])
def test_a_browser_steps_through_a_game(name: str, tmp_path: Path) -> None:
    game = get_game(name)
    run_arena(None, None, game=name, out=tmp_path, games=6, anchors=("random", "mcts:10"))
    pair = read_results(tmp_path / "results.jsonl")[0]
    moves, opening = pair.games[1].moves, len(pair.opening)
    page = tmp_path / "page.html"
    before, after = (tmp_path / "arena.html").read_text().rsplit("</body>", 1)
    page.write_text(f"{before}{ASK}</body>{after}")
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         f"{page.as_uri()}#{pair.pair}/2@{opening}"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    (shown,) = re.findall(r'<pre id="answers">(.*?)</pre>', done.stdout)
    answers, listed = json.loads(html.unescape(shown))
    plies = {
        "opened": opening, "one on": opening + 1, "end": len(moves), "back": len(moves) - 1,
        "start": 0, "on": 1, "no further": 0,
    }  # fmt: skip
    for (what, said, who, stones), (wanted, ply) in zip(answers, plies.items(), strict=False):
        assert what == wanted and said.startswith(f"move {ply} of {len(moves)}")
        assert who == f"Black: {pair.b.name}White: {pair.a.name}"
        session = Session(game, pair.rules)
        for move in moves[:ply]:
            session.play(move)
        board = session.stones().reshape(game.rows, game.cols)
        assert stones == sorted(
            f"{col + 0.5:g} {row + 0.5:g} {'black' if board[row, col] > 0 else 'white'}"
            for row, col in zip(*np.nonzero(board), strict=True)
        )
    last = answers[2][1]
    assert outcome_words(game, pair.games[1]) in last.split(". ")[1]
    assert f"; {listed} of the games below" in answers[-1][0] and listed == 6
    assert len(answers) == len(plies) + 1


LOOK = """<script>
addEventListener("load", () => setTimeout(() => {
  const page = document.documentElement, shade = (element) => getComputedStyle(element);
  const sum = (colour) => colour.match(/[0-9.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0);
  parent.postMessage(JSON.stringify({
    width: innerWidth, wide: page.scrollWidth,
    ground: sum(shade(document.body).backgroundColor), ink: sum(shade(document.body).color),
    charts: document.querySelectorAll("svg, canvas").length,
    empty: [...document.querySelectorAll(".chart")].filter((e) => !e.children.length).length,
  }), "*");
}, 1000));
</script>"""
FRAME = """<iframe src="page.html" style="border:0;width:WIDTHpx;height:1200px"></iframe><script>
addEventListener("message", (message) => {
  const out = document.createElement("pre");
  out.id = "look";
  out.textContent = message.data;
  document.body.append(out);
});
</script>"""
"""A window has a least width, a frame has none."""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome here")
def test_the_page_fits_a_telephone_and_a_desk_by_day_and_by_night(tmp_path: Path) -> None:
    with Run.creating(tmp_path / "runs" / "scratch", "tic_tac_toe", 0, "") as run:
        for step in range(3):
            network = Network(get_game("tic_tac_toe"), NetworkConfig(1, 8))
            totals = {"selfplay_flops": 1e9 * (step + 1)}
            run.save_checkpoint(step, network, {"totals": totals})
    run_arena("scratch", None, root=tmp_path / "runs", out=tmp_path, games=16, visits=2)
    page = tmp_path / "page.html"
    before, after = (tmp_path / "arena.html").read_text().rsplit("</body>", 1)
    page.write_text(f"{before}{LOOK}</body>{after}")
    assert BROWSER is not None
    frame = tmp_path / "frame.html"
    for width, dark in itertools.product((400, 1400), (False, True)):
        frame.write_text(FRAME.replace("WIDTH", str(width)))
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=9000",
             "--window-size=1500,1200", f"--blink-settings=preferredColorScheme={int(not dark)}",
             f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", frame.as_uri()],
            check=True, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        (shown,) = re.findall(r'<pre id="look">(.*?)</pre>', done.stdout)
        found = json.loads(html.unescape(shown))
        assert width - 20 <= found["width"] <= width
        assert found["wide"] <= found["width"], f"{width} px: scrolls sideways"
        assert (found["ground"] < found["ink"]) == dark
        assert found["charts"] and not found["empty"]
