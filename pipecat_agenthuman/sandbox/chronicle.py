"""Tells what was said by the utterance, while it goes on and when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipecat_agenthuman.sandbox.account import Account
from pipecat_agenthuman.sandbox.log import EventLog
from pipecat_agenthuman.sandbox.sessions import LiveSession
from pipecat_agenthuman.sandbox.sound import Samples
from pipecat_agenthuman.sandbox.utterances import Utterance, Utterances


class Chronicle:
    """Listens to all avatars, and notes each utterance in the log when it is over."""

    def __init__(self, account: Account, log: EventLog) -> None:
        """Join the audience of an account.

        Args:
            account: The account.
            log: Where to note what was said.
        """
        self._log = log
        self._listeners: list[Callable[[Utterance], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._utterances = Utterances(heard_samples=account.heard_between, changed=self._tell)
        account.admit(self)

    def latest(self) -> list[Utterance]:
        """Return the latest utterances, oldest first."""
        return self._utterances.latest()

    def listen(self, listener: Callable[[Utterance], None]) -> None:
        """Call ``listener`` with every utterance that begins, grows or is over."""
        self._listeners.append(listener)

    # --- what the account tells ---

    def session_changed(self, session: LiveSession) -> None:
        """Take no note: a session's end cuts its speech."""

    def speech_queued(
        self, session: LiveSession, audio: Samples, starts_at: float, lead_secs: float
    ) -> None:
        """Take note of speech that will sound."""
        now = self._log.now()
        self._utterances.queued(session.id, len(audio), starts_at, now=now, lead_secs=lead_secs)
        if self._timer is None:
            self._settle()

    def speech_cut(self, session: LiveSession, at: float, dropped_samples: int) -> None:
        """Take note that an avatar fell silent."""
        self._utterances.cut(session.id, at)

    # --- small things ---

    def _settle(self) -> None:
        now = self._log.now()
        ask_again_at = self._utterances.settle(now)
        self._timer = None
        if ask_again_at is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(ask_again_at - now, self._settle)

    def _tell(self, utterance: Utterance) -> None:
        if utterance.is_over:
            self._log.add(
                "room",
                "utterance",
                utterance.session_id,
                utterance=utterance.number,
                state=str(utterance.state),
                sent_samples=utterance.sent_samples,
                heard_samples=utterance.heard_samples,
                summary=utterance.summary,
            )
        for listener in self._listeners:
            listener(utterance)
