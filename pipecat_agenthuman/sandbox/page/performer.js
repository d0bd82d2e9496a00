// One avatar, as it is to be drawn now: who it is, how it feels, and what its mouth does.

import { characterOf } from "./face/characters.js";
import { CLOSED } from "./face/mouth-shape.js";
import { poseAt } from "./face/pose.js";

const MOOD_SECS = 0.3; // from one mood to the next
const APPEAR_SECS = 0.45;

const towards = (from, to, step) => (from < to ? Math.min(to, from + step) : Math.max(to, from - step));

/** Draws a session on a portrait, again and again. */
export class Performer {
  #portrait;
  #sessionId = null;
  #drawnAt = null;
  #speaking = 0;
  #listening = 0;
  #presence = 0;

  /** The mouth as it was drawn last. */
  mouth = CLOSED;

  constructor(portrait) {
    this.#portrait = portrait;
  }

  /**
   * Draw a session.
   *
   * secs: the sandbox's time at which the picture is seen. session: null for an empty stage.
   * room: the RoomState. still: as little motion as possible.
   */
  draw(secs, session, room, still) {
    const step = Math.max(0, secs - (this.#drawnAt ?? secs));
    this.#drawnAt = secs;
    const isPresent = session !== null && session.avatar_in_room;
    if (session?.session_id !== this.#sessionId) {
      this.#sessionId = session?.session_id ?? null;
      this.#presence = isPresent ? 1 : 0;
    }
    const sounds = isPresent && room.soundOf(session.session_id).soundsAt(secs);
    this.mouth = isPresent ? room.mouthOf(session.session_id).at(secs) : CLOSED;
    this.#speaking = towards(this.#speaking, sounds ? 1 : 0, step / MOOD_SECS);
    this.#listening = towards(this.#listening, room.activity.user_is_speaking ? 1 : 0, step / MOOD_SECS);
    // Who has ended stays, as a picture of what was; who is out of the room is not to be seen.
    const wanted = session !== null && (isPresent || session.status === "ended") ? 1 : 0;
    this.#presence = still ? wanted : towards(this.#presence, wanted, step / APPEAR_SECS);
    const character = characterOf(session?.avatar ?? "");
    const pose = poseAt(session?.status === "ended" ? 0 : secs, character.seed, {
      speaking: this.#speaking,
      listening: this.#listening,
      still,
    });
    const smile = 0.75 - 0.5 * this.#speaking;
    this.#portrait.draw(character, pose, this.mouth, smile, this.#presence);
    return sounds;
  }
}
