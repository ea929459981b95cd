"""A dial from the bot's move to the move that a person would play.

At `dial` h the move is drawn with weights t(a) * exp(q(a) * (1 - h) / (h * VALUE_SCALE)): t is a
policy imitated from people, q(a) the search's value of the move. That is the policy of most value
for its distance from t (piKL; Jacob et al. 2022, "Modeling strong and human-like gameplay with
KL-regularized search"): at 1 people's own policy, towards 0 the search's best move.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ghostgo.bot import PLAY, Analysis, Bot, Margins, Opinions, SearchBot, refit
from ghostgo.clock import Pace
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, States, legal_mask_of, write_planes_of
from ghostgo.engine.games.go import is_go
from ghostgo.engine.search_config import SearchConfig
from ghostgo.opponents import make_bot
from ghostgo.variety import Lot

if TYPE_CHECKING:
    from ghostgo.engine.network import Network
    from ghostgo.engine.search import SearchResult

HUMAN = "human9"
"""The bot in the box that imitated people."""
VALUE_SCALE = 0.1
"""Value, in [-1, 1], that at a dial of one half weighs as much as a factor of e in t."""


def human_weights(
    log_policy: NDArray[np.float64], q: NDArray[np.float64], dial: float
) -> NDArray[np.float64]:
    """Chances of the actions (A,), from people's log policy (-inf where illegal) and values.

    `dial` is above 0.
    """
    weights = log_policy + q * (1 - dial) / (dial * VALUE_SCALE)
    weights = np.exp(weights - weights.max())
    chances: NDArray[np.float64] = weights / weights.sum()
    return chances


def search_values(found: SearchResult) -> NDArray[np.float64]:
    """What a search thinks of each action (A,) of its first position, for the side to move.

    The network's value of the position counts as one visit more, so that a first lucky one does not
    outweigh many; where the result is proven, nobody's does. What was not tried counts as the worst
    that was, but for what is proven lost.
    """
    visits, q = found.visits[0], np.nan_to_num(found.q[0].astype(np.float64))
    tried = visits > 0
    more = 0 if abs(found.value[0]) == 1 else 1
    raw = float(found.raw_value[0])
    values: NDArray[np.float64] = np.where(
        visits + more > 0, (visits * q + more * raw) / np.maximum(visits + more, 1), raw
    )
    lost = tried & (found.policy[0] == 0)
    if (tried & ~lost).any():
        values[~tried] = values[tried & ~lost].min()
        values[lost] = -1.0
    if found.value[0] == 1:  # proven, whatever the mean says
        values[found.action[0]] = 1.0
    return values


class HumanBot:
    """A searching bot that plays as people do, to the degree of its dial.

    What it draws depends on its lot and the position alone, so in one game it answers a question
    twice alike as long as its search does.
    """

    def __init__(
        self, bot: SearchBot, prior: Network, dial: float, lot: Lot, rank: int = 0
    ) -> None:
        """People of `rank`, if one is given (codes of `GameTable.ranks`).

        Raises UserError if the prior plays another game, or is not told ranks.
        """
        from ghostgo.engine.evaluator import make_evaluator

        if rank and prior.rank is None:
            raise UserError("--rank needs a prior that is told ranks, of a network such as b4c64r")
        if prior.game is not bot.game:
            prior = refit(prior, bot.game)
        self.name = f"{bot.name}, {dial:.0%} human"
        self.game = bot.game
        self._bot, self._prior, self._dial = bot, prior, dial
        self._rank = rank
        self.lot = lot
        self._pace = Pace()
        self._evaluator = make_evaluator(prior, 1, rank=rank)
        self._mask = np.zeros(bot.game.actions, np.uint8)

    def _evaluate(self) -> bool:
        self._evaluator.evaluate(1)
        return True

    def _without_pick(self, seconds: float | None) -> float | None:
        """What is left for the search of the time for a move."""
        self._pace.begin(math.inf if seconds is None else seconds)
        return None if seconds is None else max(0.0, seconds - self._pace.needed)

    def _pick(self, states: States, found: SearchResult) -> int:
        state = states[0]
        legal_mask_of(state, self._mask)
        write_planes_of(state, self._mask, self._evaluator.planes[0])
        self._pace.step(self._evaluate)
        logits = np.where(self._mask == 1, self._evaluator.policy[0].astype(np.float64), -np.inf)
        chances = human_weights(logits, search_values(found), self._dial)
        return int(self.lot.random(state).choice(len(chances), p=chances))

    def warm(self) -> None:
        """As `SearchBot.warm`, the prior included."""
        self._bot.warm()
        self._evaluator.evaluate(1)
        self._pace.step(self._evaluate)

    def choose(self, states: States, seconds: float | None = None) -> int:
        """A move drawn by the dial after a search."""
        self._bot.choose(states, self._without_pick(seconds))
        return self._pick(states, self._bot.result())

    def analyse(self, states: States, seconds: float | None = None) -> Analysis:
        """The bot's own opinion, with the move that the dial draws."""
        found = self._bot.analyse(states, self._without_pick(seconds))
        return replace(found, action=self._pick(states, self._bot.result()))

    def ponder(
        self, states: States, endless: bool = False, seconds: float | None = None
    ) -> Opinions:
        """The bot's own opinion, step by step, with the move that the dial draws at that point."""
        for read in self._bot.ponder(states, endless, self._without_pick(seconds)):
            yield read if endless else partial(self._drawn, states, read)

    def _drawn(self, states: States, read: Callable[[], Analysis]) -> Analysis:
        return replace(read(), action=self._pick(states, self._bot.result()))

    def ownership(self, states: States) -> NDArray[np.float32] | None:
        """The bot's own forecast."""
        return self._bot.ownership(states)

    def margins(self, states: States) -> Margins | None:
        """The bot's own forecast."""
        return self._bot.margins(states)

    def bind(self, game: Game) -> HumanBot:
        """The same on another board; raises UserError if one of the networks does not fit there."""
        return HumanBot(self._bot.bind(game), self._prior, self._dial, self.lot, self._rank)


def humanised(bot: Bot, prior: Network | None, dial: float, lot: Lot, rank: int) -> HumanBot:
    """`bot` with a dial; raises UserError if it does not search with a network."""
    if not isinstance(bot, SearchBot):
        raise UserError("--human goes with a bot that has a network: a run, or one in the box")
    if prior is None:
        raise UserError(
            f"there is no human prior for {bot.game.name} here; name a run that imitated people "
            "with --human-prior"
        )
    return HumanBot(bot, prior, dial, lot, rank)


def dialled_bot(
    name: str | None,
    game: str | None,
    visits: int | None,
    seed: int | None,
    root: Path,
    seconds: float | None = None,
    search: SearchConfig = PLAY,
    human: float = 0.0,
    prior: str | None = None,
    rank: str | None = None,
    learn: bool = False,
    reuse: bool = True,
    variety: bool = False,
) -> Bot:
    """As `make_bot`; with `human` above 0, moved so far towards what people play.

    `prior` is the checkpoint that imitated people: if None, the bot in the box for the game;
    `rank` how strong they are, if that is to be told. With `variety` no two games need be alike: a
    `ghostgo.variety.Lot` of `seed` draws a network's opening moves, and each game of the dial's anew.
    """
    if learn and human:
        raise UserError("--learn goes with --human 0: the dial's moves are not the network's")
    bot = make_bot(name, game, visits, seed, root, seconds, search, learn, reuse)
    if human == 0:
        if prior is not None or rank is not None:
            raise UserError("--human-prior and --rank go with --human above 0")
        if variety and isinstance(bot, SearchBot):
            bot.lot = Lot(seed)
        return bot
    from ghostgo.data.run import find_checkpoint, list_bots, load_network
    from ghostgo.engine.network import rank_code

    found = {info.path.name: info for info in list_bots()}.get(HUMAN) if is_go(bot.game) else None
    if prior is not None:
        found = find_checkpoint(prior, root)
    network, code = load_network(found.path) if found else None, rank_code(rank) if rank else 0
    return humanised(bot, network, human, Lot(seed, each_game=variety), code)
