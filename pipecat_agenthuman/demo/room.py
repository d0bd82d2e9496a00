"""The demo's room: the sandbox with its page, a bot in it, and a person in front of a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.demo.bot import Bot
from pipecat_agenthuman.demo.browser import has_display, open_page
from pipecat_agenthuman.demo.dialogue import SUGGESTIONS
from pipecat_agenthuman.demo.options import ModelChoice, RecogniserChoice
from pipecat_agenthuman.demo.partner import Partner
from pipecat_agenthuman.demo.recorder import DemoError
from pipecat_agenthuman.demo.services import describe, make_llm, make_stt
from pipecat_agenthuman.sandbox import Sandbox, TalkTerms
from pipecat_agenthuman.sandbox.log import Entry
from pipecat_agenthuman.sandbox.narration import digest, narrate
from pipecat_agenthuman.sandbox.stop_signals import stop_signals


@dataclass(frozen=True)
class RoomOptions:
    """What the person who opens the room has chosen.

    Attributes:
        port: Where the sandbox listens; 0 takes a free port.
        opens_browser: Whether to open the page.
        model: The language model that answers; None for the script.
        recogniser: Who recognises speech; None for nobody.
        tells_all: Whether to tell of every message, and not of each utterance as a whole.
    """

    port: int = 0
    opens_browser: bool = True
    model: ModelChoice | None = None
    recogniser: RecogniserChoice | None = None
    tells_all: bool = False


async def open_room(options: RoomOptions, tell: Callable[[str], None]) -> None:
    """Keep the room open until Ctrl-C or SIGTERM.

    Args:
        options: What was chosen.
        tell: Is called with each line that the person in front of the terminal should read.

    Raises:
        DemoError: If the bot ended otherwise.
        EspeakError: If the speech synthesiser is missing or does not load.
        MissingServiceError: If a chosen service is not installed.
        OSError: If the port is in use.
    """
    # Before anything is opened: loading a model may take its time, or fail.
    stt, llm = make_stt(options.recogniser), make_llm(options.model)
    _, introduction = describe(options.model, options.recogniser)
    stop = asyncio.Event()
    with stop_signals(asyncio.get_running_loop(), stop):
        async with Sandbox(port=options.port) as sandbox:
            living = asyncio.create_task(inhabit(sandbox, stt, llm, options, stop))
            tell(f"The room is open: {sandbox.room_url}")
            tell(introduction)
            tell("Ctrl-C ends it.")
            sandbox.listen(lambda entry: _tell_entry(entry, options, tell))
            if options.opens_browser and has_display():
                await open_page(sandbox.room_url)
            await living


def _tell_entry(entry: Entry, options: RoomOptions, tell: Callable[[str], None]) -> None:
    line = narrate(entry) if options.tells_all else digest(entry)
    if line is not None:
        tell(line)


async def inhabit(
    sandbox: Sandbox,
    stt: FrameProcessor,
    llm: FrameProcessor,
    options: RoomOptions,
    stop: asyncio.Event,
) -> None:
    """Let a bot be talked to in a sandbox's room.

    Args:
        sandbox: The sandbox; it runs.
        stt: Recognises speech.
        llm: Answers.
        options: What was chosen, for the page to tell.
        stop: Ends it.

    Raises:
        DemoError: If the bot ended otherwise.
    """
    chosen = (options.model, options.recogniser)
    secrets = [choice.api_key for choice in chosen if choice is not None]
    partner = Partner(
        sandbox.talk,
        lambda audience: Bot(sandbox, stt=stt, llm=llm, audience=audience),
        secrets=secrets,
    )
    title, introduction = describe(*chosen)
    suggestions = SUGGESTIONS if options.model is None else ()
    terms = TalkTerms(title, introduction, can_speak=True, suggestions=suggestions)
    sandbox.talk.host(partner, terms)
    bot = asyncio.create_task(partner.bot.run())
    talking = asyncio.create_task(partner.run())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({bot, talking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (bot, talking):
            if task.done():
                task.result()
                raise DemoError("The bot ended before it should have.")
    finally:
        sandbox.talk.withdraw()
        if not bot.done():
            await partner.bot.leave()
        talking.cancel()
        stopping.cancel()
        await asyncio.gather(bot, talking, stopping, return_exceptions=True)
