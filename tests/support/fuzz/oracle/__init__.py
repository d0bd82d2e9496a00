"""Judges a call by what was heard and seen, and by nothing that the service says of itself.

Every judgement is a rule with a name. What it finds has a subject (a word, a frame, a time), so
that it can be compared with the same call of a transport that plays everything itself: what goes
wrong there, too, is Pipecat's own.

``evidence`` says what was heard and seen, ``busy_transport``, ``circumstances`` and ``messages``
what that excuses, ``tolerances`` by how much things may be off; the rules stand in ``ends``,
``sounds``, ``texts``, ``bot_frames``, ``frames``, ``floor``, ``calm`` and ``recorded``.
"""

from __future__ import annotations

from tests.support.fuzz.call import Call, play
from tests.support.fuzz.oracle.bot_frames import bot
from tests.support.fuzz.oracle.calm import calm
from tests.support.fuzz.oracle.circumstances import Circumstances
from tests.support.fuzz.oracle.ends import end, leftovers
from tests.support.fuzz.oracle.finding import Finding
from tests.support.fuzz.oracle.floor import floor, passers
from tests.support.fuzz.oracle.frames import frames
from tests.support.fuzz.oracle.recorded import recorded
from tests.support.fuzz.oracle.sounds import cuts, one_voice, sound
from tests.support.fuzz.oracle.texts import context, texts
from tests.support.fuzz.script import Script

__all__ = ["Finding", "examine", "judge"]

_RULES = (
    end, leftovers, sound, cuts, one_voice, texts, context, bot, frames, passers, floor, calm,
    recorded,
)  # fmt: skip


def judge(call: Call) -> list[Finding]:
    """Judge a call."""
    known = Circumstances(call)
    return [finding for rule in _RULES for finding in rule(known)]


COMPARED = {
    "bot pairs", "bot early", "bot late", "bot silent", "speech unannounced", "frame order",
    "frame lost", "frame late", "frame early", "text lost", "text late", "context",
    "text after stop", "never ends", "ends late", "log", "heard missing", "heard order",
    "heard twice", "tail", "busy floor", "passer late", "heartbeat late", "text unheard",
    "text early", "crumb", "start late",
}  # fmt: skip
"""Rules that a transport can break, too, for the same subject."""

EXCUSED_SECS = 0.06
"""By how much more than the transport the avatar may break a rule that both break."""


def examine(script: Script) -> list[Finding]:
    """Play a script, and find what is not Pipecat's own."""
    found = judge(play(script))
    if any(finding.rule in COMPARED for finding in found):
        plain: dict[tuple[str, str], float] = {}
        for one in judge(play(script, plain=True)):
            key = (one.rule, one.subject)
            plain[key] = max(one.secs, plain.get(key, 0.0))

        def is_excused(finding: Finding) -> bool:
            worst = plain.get((finding.rule, finding.subject))
            return (
                finding.rule in COMPARED
                and worst is not None
                and finding.secs <= worst + EXCUSED_SECS
            )

        found = [finding for finding in found if not is_excused(finding)]
    return found
