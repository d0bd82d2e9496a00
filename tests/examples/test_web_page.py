"""The page of ``examples/web``: a person in a call whose avatar comes and goes."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from tests.support.browser import put_into
from tests.support.conversation import loud
from tests.support.page_sound import speech
from tests.support.waiting import until
from tests.support.web_build import ADDRESS
from tests.support.web_page import (
    AVATAR,
    DAILY_ROOM,
    PERSONS_TOKEN,
    TONES,
    news,
    rtvi,
    web_page,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

BLOCKED = {"type": "permissions", "blockedMedia": ["audio"], "blockedBy": "user", "msg": ""}
"""A microphone that the browser does not give, as Daily's library reports it."""

ASKS_FOR_THE_MICROPHONE = """() => {
  const devices = navigator.mediaDevices;
  const get = devices.getUserMedia.bind(devices);
  globalThis.microphones = { asked: 0, tracks: [] };
  devices.getUserMedia = async (wanted) => {
    microphones.asked += 1;
    await new Promise((allow, refuse) => {
      microphones.allow = () => allow();
      microphones.refuse = () => refuse(new DOMException("", "NotAllowedError"));
    });
    const stream = await get(wanted);
    microphones.tracks.push(...stream.getTracks());
    return stream;
  };
}"""
"""Let the browser give it when it is told to, and note what it gave."""


async def test_a_call_survives_a_loss_a_renewal_and_another_avatar_with_one_voice_at_each_moment(
    browser,
):
    async with web_page(browser) as page:
        await page.call()
        await page.tell("joining")
        await page.shows("state-words", "The avatar is on its way")
        await page.shows_picture(of_anybody=False)
        await page.hears()

        await page.join("avatar-1")
        await page.tell("speaking")
        await page.speak("avatar-1")
        await page.shows("state-words", "Speaking")
        await page.shows_picture(of_anybody=True)
        await page.hears("avatar-1")

        # A loss in mid sentence: the bot's own voice goes on.
        await page.leave("avatar-1")
        await page.tell("lost")
        await page.speak("bot")
        await page.shows("state-words", "Voice only for a moment")
        await page.shows_picture(of_anybody=False)
        await page.hears("bot")

        await page.join("avatar-2")
        await page.shows_picture(of_anybody=True)
        await page.hears("bot")
        await page.speak("bot", does=False)
        await page.speak("avatar-2")
        await page.tell("speaking")
        await page.hears("avatar-2")

        # Another avatar: it is there before the old one leaves.
        await page.speak("avatar-2", does=False)
        await page.tell("returning")
        await page.join("avatar-3")
        await page.hears()
        await page.leave("avatar-2")
        await page.shows_picture(of_anybody=True)
        await page.speak("avatar-3")
        await page.tell("speaking")
        await page.hears("avatar-3")

        await page.page.click("#leave")
        await page.shows("lobby-title", "The call has ended")
        assert await page.look("dailyRoom.calls.length") == 0
        await page.hears()


async def test_nobody_elses_camera_is_taken_for_the_avatar(browser):
    async with web_page(browser) as page:
        await page.call()
        await page.tell("joining")
        await page.look("dailyRoom.join({ session_id: 'bob', user_id: 'bob', user_name: 'Bob' })")
        await page.look("dailyRoom.publish('bob', 'video')")
        await page.shows_picture(of_anybody=False)
        await page.join("avatar-1")
        await page.shows_picture(of_anybody=True)


async def test_captions_say_what_was_said_so_far_and_no_more(browser):
    async with web_page(browser) as page:
        await page.call()

        async def said(segment: int, now: str, later: str = "", status: str = "in-progress"):
            progress = {"accumulated_text": now, "remaining_text": later}
            output = {"text": now + later, "segment_id": segment, "aggregated_by": "sentence"}
            spoken = {"will_be_spoken": True, "spoken_status": status, "spoken_progress": progress}
            await page.rtvi("bot-output", output | spoken)

        await said(1, "", "With flour and water.", "new")
        assert not await page.page.is_visible("#captions")
        await said(1, "With flour", " and water.")
        await page.shows("caption-now", "With flour")
        await said(1, "With flour and water.", "", "completed")
        await page.shows("caption-now", "With flour and water.")
        await page.rtvi("bot-output", {"text": "[smiles]", "will_be_spoken": False})
        await said(2, "And", " time.")
        await page.shows("caption-now", "And")
        assert await page.text("caption-before") == "With flour and water."
        assert "time" not in await page.page.inner_text("body")
        await page.page.keyboard.press("c")
        assert not await page.page.is_visible("#captions")
        await page.page.click("#subtitles")
        assert await page.page.is_visible("#captions")


async def test_all_is_done_by_keys_and_told_to_a_screen_reader(browser):
    async with web_page(browser) as page:
        keys = page.page.keyboard
        await keys.press("Tab")
        assert await page.look("document.activeElement.textContent") == "Start the call"
        await keys.press("Enter")
        await page.until("globalThis.dailyRoom?.calls.length")
        await page.shows("news", "You are in the call.")
        # What can be done next has the focus.
        assert await page.look("document.activeElement.id") == "microphone"
        await page.tell("lost", "The avatar is gone for a moment; the call goes on without it.")
        await page.shows("news", "The avatar is gone for a moment; the call goes on without it.")
        await page.tell("speaking", "The avatar is speaking.")
        assert "gone for a moment" in await page.text("news")  # a voice needs no announcing
        assert await page.look("dailyRoom.calls[0].localAudio()")
        await keys.press("m")
        assert not await page.look("dailyRoom.calls[0].localAudio()")
        named = await page.page.get_by_role("group", name="Call").get_by_role("button").all()
        assert [await button.inner_text() for button in named] == ["Unmute", "Captions", "Leave"]
        await keys.press("Space")
        assert await page.look("dailyRoom.calls[0].localAudio()")
        await page.look("document.activeElement.blur()")
        await keys.press("m")  # a letter by mistake
        assert await page.look("dailyRoom.calls[0].localAudio()")
        await page.page.focus("#microphone")
        await keys.press("Tab")
        await keys.press("Tab")
        await keys.press("Enter")
        await page.shows("news", "The call has ended.")
        assert await page.look("document.activeElement.textContent") == "Call again"


async def test_a_key_that_is_held_does_not_hang_up_again(browser):
    async with web_page(browser) as page:
        await page.page.focus("#start")
        keys = page.page.keyboard
        for _ in range(3):  # down without up: the key repeats
            await keys.down("Enter")
        await page.until("globalThis.dailyRoom?.calls.length")
        await page.shows("news", "You are in the call.")
        assert len(page.started) == 1


async def test_a_bot_that_cannot_go_on_is_told_of_without_its_words(browser):
    async with web_page(browser) as page:
        await page.call()
        await page.rtvi("error", {"error": "secret cause", "fatal": True})
        await page.shows(
            "lobby-title", "Something went wrong at the other end, and the call has ended."
        )
        await page.shows("start", "Try again")
        assert "secret cause" not in await page.page.inner_text("body")
        page.wrongs.clear()  # the client writes the error to the console


async def test_a_second_call_is_a_call_like_the_first(browser):
    async with web_page(browser) as page:
        for _ in range(2):
            await page.call()
            await page.join("avatar-1")
            await page.speak("avatar-1")
            await page.hears("avatar-1")
            await page.page.click("#leave")
            await page.hears()
            for name in ("avatar-1", "bot"):
                await page.leave(name)


async def test_in_a_livekit_room_a_call_survives_a_renewal_and_a_loss(browser, microphone):
    pytest.importorskip("livekit.protocol", reason="livekit-protocol is not installed")
    pytest.importorskip("aiortc", reason="aiortc, for tests, is not installed")
    from tests.support.livekit_room import opened_room

    put_into(microphone, np.tile(speech("Is anybody there?"), 6))
    async with opened_room() as room:
        url = room.url.replace("127.0.0.1", "localhost")
        answer = {"url": url, "token": room.token("Ada")}
        rooms = (url.replace("ws", "http"),)
        async with web_page(browser, transport="livekit", answer=answer, rooms=rooms) as page:
            await page.look("(tones) => { globalThis.dailyRoom = { tones } }", TONES)
            bot = room.join("bot", tone_hz=TONES["bot"])
            await page.page.click("#start")
            await page.until("document.body.dataset.phase === 'talking'")
            page.wrongs.clear()  # that the server is of an older version
            assert page.started == [{"transport": "livekit"}]
            (seat,) = room.seats
            await until(lambda: b"client-ready" in b"".join(seat.sent_data))
            bot.send_app_message(rtvi("bot-ready", {"version": "2.0.0"}))
            bot.send_app_message(rtvi("server-message", news("joining")))
            await page.shows("state-words", "The avatar is on its way")
            await until(lambda: len(loud(np.concatenate(seat.heard or [[]]))))  # the person

            for tone in ("avatar-1", "avatar-2"):
                avatar = room.join(AVATAR, tone_hz=TONES[tone], has_camera=True)
                bot.send_app_message(rtvi("server-message", news("speaking")))
                avatar.speak()
                await page.hears(tone)
                await page.shows_picture(of_anybody=True)
            avatar.leave()
            bot.speak()
            bot.send_app_message(rtvi("server-message", news("lost")))
            await page.hears("bot")
            await page.shows_picture(of_anybody=False)
            await page.shows("state-words", "Voice only for a moment")
            await page.page.keyboard.press("m")
            await page.shows("microphone-words", "Unmute")
            await page.page.click("#leave")
            await page.shows("lobby-title", "The call has ended")


async def test_no_token_is_in_the_page_but_the_persons_own(browser):
    async with web_page(browser) as page:
        await page.call()
        await page.tell("ready")
        assert page.started == [{"transport": "daily", "createDailyRoom": True}]
        kept = await page.look("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        shown = await page.page.content()
        sent = json.dumps(await page.look("dailyRoom.sent"))
        assert "token" not in f"{kept} {shown} {sent} {page.page.url}".lower()
        assert await page.look("dailyRoom.calls[0].joined.token") == PERSONS_TOKEN


async def test_a_microphone_that_is_not_there_is_told_in_words_with_what_to_do(browser):
    async with web_page(browser) as page:
        await page.call()
        await page.look("(error) => dailyRoom.calls[0].emit('camera-error', { error })", BLOCKED)
        alert = page.page.get_by_role("alert")
        assert "does not let this page use your microphone" in await alert.inner_text()
        assert "Allow it" in await alert.inner_text()
        assert await page.text("microphone-words") == "Unmute"
        await page.page.click("#retry")
        await page.until("document.getElementById('trouble').hidden")
        await page.shows("microphone-words", "Mute")
        assert await page.look("dailyRoom.calls[0].localAudio()")


async def test_a_call_can_be_left_before_it_has_begun(browser):
    async with web_page(browser) as page:
        await page.look("{ start.click(); leave.click(); }")
        await page.shows("lobby-title", "The call has ended")
        await page.call()
        assert len(page.started) == 1


async def test_who_has_left_while_the_bot_was_being_started_does_not_join_its_room(browser):
    async with web_page(browser) as page:
        asked, answered = asyncio.Event(), asyncio.Event()

        async def start(route):
            asked.set()
            await answered.wait()
            await route.fulfill(json=DAILY_ROOM)

        await page.page.route(f"{ADDRESS}start", start)
        await page.page.click("#start")
        await asked.wait()
        await page.page.click("#leave")
        async with page.page.expect_response(f"{ADDRESS}start"):
            answered.set()
        await page.page.wait_for_timeout(500)
        assert await page.look("dailyRoom.calls.length") == 0
        assert await page.text("lobby-title") == "The call has ended"


async def test_who_has_left_before_the_browser_gave_the_microphone_is_not_listened_to(browser):
    async with web_page(browser, transport="livekit") as page:
        await page.look(ASKS_FOR_THE_MICROPHONE)
        await page.page.click("#start")
        await page.until("microphones.asked")
        await page.page.click("#leave")
        await page.shows("lobby-title", "The call has ended")
        await page.look("microphones.allow()")
        await page.until("microphones.tracks.some((track) => track.readyState === 'ended')")
        await page.page.wait_for_timeout(500)
        assert page.started == []
        assert await page.look("microphones.tracks.map((track) => track.readyState)") == ["ended"]


async def test_who_has_left_before_the_microphone_was_allowed_after_all_is_not_listened_to(browser):
    async with web_page(browser, transport="livekit") as page:
        await page.look(ASKS_FOR_THE_MICROPHONE)
        await page.page.route(f"{ADDRESS}start", lambda _: None)  # no answer
        await page.page.click("#start")
        await page.until("microphones.asked")
        await page.look("microphones.refuse()")
        await page.page.click("#retry")
        await page.until("microphones.asked === 2")
        await page.page.click("#leave")
        await page.look("microphones.allow()")
        await page.until("microphones.tracks.some((track) => track.readyState === 'ended')")


async def test_a_bot_that_cannot_be_reached_is_told_and_can_be_called_again(browser):
    async with web_page(browser, status=503) as page:
        await page.page.click("#start")
        await page.shows("lobby-title", "Nobody could be reached.")
        assert await page.look("document.activeElement.textContent") == "Try again"
        page.wrongs.clear()  # the browser and the client tell the developer


async def test_a_bot_that_is_gone_for_good_ends_the_call(browser):
    async with web_page(browser, with_its_own_clock=True) as page:
        await page.page.clock.install()
        await page.call()
        await page.join("avatar-1")
        await page.leave("bot")
        await page.page.clock.run_for(15_000)
        assert await page.look("document.body.dataset.phase") == "talking"
        await page.leave("avatar-1")
        await page.page.clock.run_for(15_000)
        await page.shows("lobby-title", "The call has ended")


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (390, "dark"), (1280, "light")])
async def test_the_page_fits_every_width(browser, width, scheme):
    height = 720 if width > 600 else 640
    async with web_page(browser, width=width, height=height, color_scheme=scheme) as page:
        assert await page.look("document.documentElement.scrollWidth <= innerWidth")
        await page.call()
        await page.tell("returning")
        await page.look("(error) => dailyRoom.calls[0].emit('camera-error', { error })", BLOCKED)
        assert await page.look("document.documentElement.scrollWidth <= innerWidth")
        for name in ("state", "retry", "microphone", "subtitles", "leave"):
            box = await page.page.locator(f"#{name}").bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] + box["height"] <= height
            if name != "state":
                assert box["height"] >= 44  # for a thumb
        dark = await page.look("getComputedStyle(document.documentElement).backgroundColor")
        assert (dark == "rgb(16, 18, 20)") == (scheme == "dark")
