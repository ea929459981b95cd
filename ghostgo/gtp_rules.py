"""Rules and clocks as GUIs set them: GTP's own commands, and those of KataGo and KGS.

Both are described in the GTP documentation of KataGo ("GTP Extensions"). We score by area, without
a bonus for handicap stones: of KataGo's rules all can be had that differ from this by nothing else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ghostgo.clock import Clock
from ghostgo.engine.games.go import KO_RULES
from ghostgo.gtp_protocol import GtpError, command, parse_color, parse_number, parse_seconds

if TYPE_CHECKING:
    from ghostgo.gtp import Engine

FIXED = {
    "scoring": "AREA",
    "tax": "NONE",
    "hasButton": False,
    "whiteHandicapBonus": "0",
    "friendlyPassOk": False,
}
"""Rules of KataGo's that cannot be changed here."""
SHORTHANDS = {
    "tromp-taylor": ("positional", True),
    "chinese": ("simple", False),
    "chinese-ogs": ("positional", False),
    "chinese-kgs": ("positional", False),
    "aga": ("situational", False),
    "bga": ("situational", False),
    "new-zealand": ("situational", True),
}
"""Ko rule and suicide of KataGo's names for rules with area scoring; what some of them give White
for handicap stones is left out."""
TIME_SETTINGS = "none absolute byoyomi canadian"


def all_rules(engine: Engine) -> dict[str, Any]:
    """The rules as KataGo writes them."""
    return {"ko": engine.ko.upper(), "suicide": engine.suicide, **FIXED}


def read_rule(name: str, value: Any) -> tuple[str, Any]:
    """The rule's name and value as in `all_rules`, whatever their case.

    Raises GtpError for an unknown rule, and for a value that it cannot have here.
    """
    names = {known.lower(): known for known in ("ko", "suicide", *FIXED)}
    known = names.get(name.lower())
    if known is None:
        raise GtpError(f"unknown rule {name}; known: {', '.join(names.values())}")
    text = str(value).upper()
    if known == "ko":
        choices: tuple[Any, ...] = tuple(rule.upper() for rule in KO_RULES)
    else:
        choices = (True, False) if known == "suicide" else (FIXED[known],)
    for choice in choices:
        if text == str(choice).upper():
            return known, choice
    shown = " or ".join(json.dumps(choice).strip('"') for choice in choices)
    raise GtpError(f"rule {known} cannot be {json.dumps(value)}: it is {shown}")


def read_rules(text: str) -> dict[str, Any]:
    """The rules that a shorthand or a JSON dictionary names, as in `all_rules`.

    Raises GtpError for what is neither, or cannot be had here.
    """
    if text.lower() in SHORTHANDS:
        ko, suicide = SHORTHANDS[text.lower()]
        return {"ko": ko.upper(), "suicide": suicide}
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        names = ", ".join(SHORTHANDS)
        raise GtpError(f"rules {text} are not known here: {names}, or a dictionary in JSON")
    return dict(read_rule(name, value) for name, value in given.items())


def set_rules(engine: Engine, rules: dict[str, Any]) -> str:
    """Begin anew with the rules changed. Raises GtpError if they differ and moves were made."""
    wanted = {**all_rules(engine), **rules}
    if wanted == all_rules(engine):
        return ""
    if engine.session.moves or engine.session.setup:
        raise GtpError("board not empty")
    engine.ko, engine.suicide = wanted["ko"].lower(), wanted["suicide"]
    engine.start_anew()
    return ""


@command("kata-get-rules")
def _get_rules(engine: Engine, arguments: list[str]) -> str:
    return json.dumps(all_rules(engine))


@command("kata-set-rules")
def _set_rules(engine: Engine, arguments: list[str]) -> str:
    if not arguments:
        raise GtpError("syntax error")
    return set_rules(engine, read_rules(" ".join(arguments)))


@command("kata-set-rule")
def _set_rule(engine: Engine, arguments: list[str]) -> str:
    if len(arguments) != 2:
        raise GtpError("syntax error")
    return set_rules(engine, dict([read_rule(*arguments)]))


@command("kgs-rules")
def _kgs_rules(engine: Engine, arguments: list[str]) -> str:
    if len(arguments) != 1:
        raise GtpError("syntax error")
    name = arguments[0].lower().replace("_", "-")
    return set_rules(engine, read_rules("chinese-kgs" if name == "chinese" else name))


@command("time_settings")
def _time_settings(engine: Engine, arguments: list[str]) -> str:
    if len(arguments) != 3:
        raise GtpError("syntax error")
    main, period, moves = (parse_number(text) for text in arguments)
    engine.set_clocks((main, period, moves))
    return ""


def read_clock(arguments: list[str]) -> tuple[float, float, int] | None:
    """Main time, period and moves in it, of `absolute 60`, `canadian 60 30 10` and the like.

    None without a limit. Of several periods of byo-yomi we count on the last alone. Raises GtpError
    for other kinds.
    """
    kind, given = (arguments[0].lower().replace("-", "") if arguments else ""), arguments[1:]
    if kind == "none" and not given:
        return None
    if kind == "absolute" and len(given) == 1:
        return parse_seconds(given[0]), 0.0, 0
    if kind in ("canadian", "byoyomi") and len(given) == 3:
        main, period, count = *map(parse_seconds, given[:2]), parse_number(given[2])
        if not count:
            period = 0.0  # no overtime; GTP's own "no moves in a period" means no limit
        return main, period, (count if kind == "canadian" else min(count, 1))
    raise GtpError(f"unknown time settings; known: {TIME_SETTINGS}")


@command("kata-list_time_settings")
def _list_time_settings(engine: Engine, arguments: list[str]) -> str:
    return TIME_SETTINGS


@command("kgs-time_settings")
@command("kata-time_settings")
def _kata_time_settings(engine: Engine, arguments: list[str]) -> str:
    engine.set_clocks(read_clock(arguments))
    return ""


@command("time_left")
def _time_left(engine: Engine, arguments: list[str]) -> str:
    if len(arguments) != 3:
        raise GtpError("syntax error")
    player = parse_color(arguments[0])
    left, moves = parse_seconds(arguments[1]), parse_number(arguments[2])
    clock: Clock | None = engine.clocks.get(player)
    if clock is not None:
        clock.told(left, moves)
    return ""
