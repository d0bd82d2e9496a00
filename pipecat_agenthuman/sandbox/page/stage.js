// The stage: the session that is looked at, in its aspect ratio, and the others beside it.

import { byId, make, prefersStillness, setText } from "./dom.js";
import { Performer } from "./performer.js";
import { Portrait } from "./portrait.js";
import { avatarName, describeSession, shortId } from "./session-words.js";
import { characterOf } from "./face/characters.js";

const SHOWN_SECS = 0.012; // from an animation frame's time to light on the screen
const IDLE_FRAME_SECS = 1 / 30;
const LITTLE_FRAME_SECS = 1 / 15;
const EMPTY_FRAME_SECS = 1 / 6; // where nobody is, or nobody moves any more
const SHOWN_ENDED = 3;

/** Draws everything on the stage, all the time. */
export class Stage {
  #room;
  #clock;
  #performer = new Performer(new Portrait(byId("portrait")));
  #little = new Map(); // session ID -> {button, performer, label}
  #drawnAt = 0;
  #littleDrawnAt = 0;
  #sounds = false;

  /** Called with the sandbox's time and the mouth of every picture that is drawn. */
  onDrawn = null;

  constructor(room, clock) {
    this.#room = room;
    this.#clock = clock;
    for (const topic of ["sessions", "selected", "hello"]) room.news.on(topic, () => this.#arrange());
    const loop = (at) => {
      requestAnimationFrame(loop);
      this.#frame(at / 1000);
    };
    requestAnimationFrame(loop);
  }

  #frame(at) {
    if (this.#room.hello === null) return;
    const secs = this.#clock.at(at) + SHOWN_SECS;
    const still = prefersStillness();
    const session = this.#room.selected;
    // Idle, half of the pictures are enough; the first sound is never late for it.
    const isLively = this.#sounds || (session !== null && this.#room.soundOf(session.session_id).soundsAt(secs));
    const every = session?.status === "started" ? IDLE_FRAME_SECS : EMPTY_FRAME_SECS;
    if (isLively || at - this.#drawnAt >= every * 0.9) {
      this.#drawnAt = at;
      this.#sounds = this.#performer.draw(secs, session, this.#room, still);
      this.onDrawn?.(secs, this.#performer.mouth);
      this.#caption(secs, session);
    }
    if (this.#little.size > 0 && at - this.#littleDrawnAt >= LITTLE_FRAME_SECS * 0.9) {
      this.#littleDrawnAt = at;
      for (const [id, { button, performer }] of this.#little) {
        const sounds = performer.draw(secs, this.#room.sessions.get(id) ?? null, this.#room, still);
        button.classList.toggle("sounds", sounds);
      }
    }
  }

  #caption(secs, session) {
    const successor = session && [...this.#room.sessions.values()].find((one) => this.#room.predecessor(one) === session);
    const words = describeSession(session, {
      sounds: this.#sounds, ownVoice: this.#room.ownVoice.soundsAt(secs), activity: this.#room.activity, successor, now: secs,
    });
    const status = byId("status");
    setText(status, words.label);
    status.dataset.tone = words.tone;
    setText(byId("status-sentence"), words.sentence ?? "");
    byId("screen").dataset.tone = words.tone;
  }

  #arrange() {
    const session = this.#room.selected;
    byId("screen").dataset.ratio = session?.aspect_ratio ?? "4:3";
    byId("nobody").hidden = session !== null;
    const name = session === null ? "Nobody yet" : characterOf(session.avatar).name;
    setText(byId("who-name"), name);
    setText(byId("who-avatar"), session === null ? "" : avatarName(session.avatar));
    setText(byId("who-session"), session === null ? "" : shortId(session.session_id));
    byId("who-session").title = session?.session_id ?? "";
    byId("portrait").setAttribute("aria-label", session === null ? "An empty room" : `${name}, the face of ${avatarName(session.avatar)}`);
    this.#arrangeStrip();
  }

  #arrangeStrip() {
    const ended = [...this.#room.sessions.values()].filter((one) => one.status === "ended").slice(-SHOWN_ENDED);
    const selected = this.#room.selected;
    const wanted = [...new Set([...ended, ...this.#room.live, ...(selected ? [selected] : [])])];
    // Who lives comes first, and of those the newest: what does not fit is what matters least.
    const isOver = (session) => Number(session.status === "ended");
    wanted.sort((a, b) => isOver(a) - isOver(b) || b.created_at_secs - a.created_at_secs);
    const strip = byId("sessions");
    strip.hidden = wanted.length < 2;
    if (strip.hidden) wanted.length = 0;
    const ids = new Set(wanted.map((one) => one.session_id));
    for (const [id, { button }] of this.#little) {
      if (ids.has(id)) continue;
      button.remove();
      this.#little.delete(id);
    }
    wanted.forEach((session, index) => {
      const little = this.#little.get(session.session_id) ?? this.#addLittle(session, strip);
      const isSelected = session.session_id === this.#room.selectedId;
      little.button.setAttribute("aria-pressed", String(isSelected));
      little.button.classList.toggle("ended", session.status === "ended");
      setText(little.state, session.status === "ended" ? "ended" : session.avatar_in_room ? "in the room" : "not in the room");
      if (strip.children[index] !== little.button) strip.insertBefore(little.button, strip.children[index] ?? null);
    });
  }

  #addLittle(session, strip) {
    const canvas = make("canvas", { class: "little", "aria-hidden": "true" });
    const state = make("small", {});
    const button = make(
      "button",
      { type: "button", class: "session", onclick: () => this.#room.choose(session.session_id) },
      canvas,
      make("span", {}, make("b", {}, characterOf(session.avatar).name), " ", make("code", {}, shortId(session.session_id)), state),
    );
    strip.append(button);
    const little = { button, state, performer: new Performer(new Portrait(canvas)) };
    this.#little.set(session.session_id, little);
    return little;
  }
}
