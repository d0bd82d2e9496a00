// What the page knows of the sandbox: made of its messages, and of nothing else.

import { MouthTrack } from "./mouth-track.js";
import { Signal } from "./signal.js";
import { SoundTrack } from "./sound-track.js";
import { OWN_VOICE } from "./speech-message.js";

const KEPT_ENTRIES = 4000;
const KEPT_UTTERANCES = 400;
const KEPT_SESSIONS = 60;
const KEPT_LINES = 200;
const RENEWAL_SECS = 30; // from the end of a session to the one that takes over, or the other way round

const NO_TALK = Object.freeze({
  is_hosted: false, can_type: false, can_interrupt: false, can_speak: false, title: "", introduction: "",
  suggestions: [], why_not_speak: null, microphone: "free",
});
const QUIET = Object.freeze({ user_is_speaking: false, bot_is_thinking: false, bot_is_speaking: false });

/** The newest `count` items of a map that is in order; the others are forgotten, and returned. */
function trim(map, count) {
  const gone = [...map.keys()].slice(0, Math.max(0, map.size - count));
  for (const key of gone) map.delete(key);
  return gone;
}

/**
 * The room as it is now. Topics of its `news`: "hello", "sessions", "selected", "forgotten" (a
 * session's ID), "entries" (the new ones), "utterances", "faults", "talk", "activity", "memory", "transcript", "notice".
 */
export class RoomState {
  news = new Signal();
  hello = null;
  sessions = new Map();
  entries = [];
  utterances = new Map();
  faults = [];
  talk = NO_TALK;
  activity = QUIET;
  memory = [];
  transcript = new Map();
  selectedId = null;

  #mouths = new Map();
  #sounds = new Map();
  #chosenId = null; // by the person; while it lives, newer sessions do not take the stage
  #startedWall = null;
  #lastEntry = 0;

  /** Take a message of the room's socket. */
  take(message) {
    switch (message.type) {
      case "hello":
        return this.#greet(message);
      case "session":
        return this.#takeSession(message.session);
      case "cut":
        this.mouthOf(message.session_id).cut(message.at_secs);
        return this.soundOf(message.session_id).cut(message.at_secs);
      case "log":
        return this.#takeEntries(message.entries);
      case "utterances":
        for (const one of message.utterances) this.utterances.set(`${one.session_id} ${one.number}`, one);
        trim(this.utterances, KEPT_UTTERANCES);
        return this.news.tell("utterances");
      case "faults":
        this.faults = message.faults;
        return this.news.tell("faults");
      case "talk":
      case "activity":
        this[message.type] = message[message.type];
        return this.news.tell(message.type);
      case "memory":
        this.memory = message.messages;
        return this.news.tell("memory");
      case "transcript":
        this.#takeLines(message.lines);
        return this.news.tell("transcript");
      case "notice":
        return this.news.tell("notice", message);
    }
  }

  /** Take speech, as `readSpeech` returns it. */
  takeSpeech(speech) {
    if (speech.sessionId !== OWN_VOICE) this.mouthOf(speech.sessionId).take(speech.mouthAt, speech.mouth);
    this.soundOf(speech.sessionId).take(speech.startsAt, speech.pcm);
  }

  /** The session on the stage; null if there never was one. */
  get selected() {
    return this.sessions.get(this.selectedId) ?? null;
  }

  /** The sessions that live, oldest first. */
  get live() {
    return [...this.sessions.values()].filter((session) => session.status === "started");
  }

  /** The live session that trouble is made for: the one on the stage, or else the newest. */
  get target() {
    return this.selected?.status === "started" ? this.selected : (this.live.at(-1) ?? null);
  }

  /** A session's mouth. */
  mouthOf(sessionId) {
    if (!this.#mouths.has(sessionId)) this.#mouths.set(sessionId, new MouthTrack(this.hello?.mouth_rate ?? 100));
    return this.#mouths.get(sessionId);
  }

  /** When a session sounds, and how loud. */
  soundOf(sessionId) {
    if (!this.#sounds.has(sessionId)) this.#sounds.set(sessionId, new SoundTrack(this.hello?.sample_rate ?? 16000));
    return this.#sounds.get(sessionId);
  }

  /** When the bot speaks with its own voice. */
  get ownVoice() {
    return this.soundOf(OWN_VOICE);
  }

  /** Put a session on the stage, because the person says so. */
  choose(sessionId) {
    this.#chosenId = sessionId;
    this.#select(sessionId);
  }

  /** The session that this one took over from: the same avatar's, ended about when it began. */
  predecessor(session) {
    const nearby = (other) =>
      other.session_id !== session.session_id &&
      other.avatar === session.avatar &&
      other.created_at_secs < session.created_at_secs &&
      other.ended_at_secs !== null &&
      Math.abs(other.ended_at_secs - session.created_at_secs) < RENEWAL_SECS;
    return [...this.sessions.values()].findLast(nearby) ?? null;
  }

  /** The IDs of a session and of all that it, in the end, took over from. */
  lineOf(sessionId) {
    const line = new Set();
    let session = this.sessions.get(sessionId) ?? null;
    while (session !== null && !line.has(session.session_id)) {
      line.add(session.session_id);
      session = this.predecessor(session);
    }
    return line;
  }

  /** Forget the entries and utterances so far. */
  clear() {
    this.entries = [];
    for (const [key, one] of this.utterances) if (one.state !== "speaking") this.utterances.delete(key);
    this.news.tell("entries", []);
    this.news.tell("utterances");
  }

  #greet(hello) {
    if (this.#startedWall !== hello.started_wall) {
      this.#sounds = new Map(); // another sandbox, with another clock
      this.entries = [];
      this.#lastEntry = 0;
    }
    this.#startedWall = hello.started_wall;
    this.hello = hello;
    this.sessions = new Map(hello.sessions.map((session) => [session.session_id, session]));
    this.utterances = new Map();
    this.#mouths = new Map();
    ({ faults: this.faults, talk: this.talk, activity: this.activity, memory: this.memory } = hello);
    this.transcript = new Map();
    this.#takeLines(hello.transcript);
    this.#follow();
    for (const topic of ["hello", "sessions", "utterances", "faults", "talk", "activity", "memory", "transcript"]) {
      this.news.tell(topic);
    }
  }

  #takeSession(session) {
    this.sessions.set(session.session_id, session);
    for (const id of trim(this.sessions, KEPT_SESSIONS)) {
      this.#mouths.delete(id);
      this.#sounds.delete(id);
      this.news.tell("forgotten", id);
    }
    this.#follow();
    this.news.tell("sessions");
  }

  /** Show the newest live session, unless the person has chosen one that still lives. */
  #follow() {
    if (this.sessions.get(this.#chosenId)?.status === "started") return this.#select(this.#chosenId);
    const next = this.live.at(-1) ?? this.selected ?? [...this.sessions.values()].at(-1);
    this.#select(next?.session_id ?? null);
  }

  #select(sessionId) {
    if (sessionId === this.selectedId) return;
    this.selectedId = sessionId;
    this.news.tell("selected");
  }

  #takeEntries(entries) {
    const fresh = entries.filter((entry) => entry.number > this.#lastEntry);
    if (fresh.length === 0) return;
    this.#lastEntry = fresh.at(-1).number;
    this.entries.push(...fresh);
    if (this.entries.length > KEPT_ENTRIES) this.entries.splice(0, this.entries.length - KEPT_ENTRIES);
    this.news.tell("entries", fresh);
  }

  #takeLines(lines) {
    for (const line of lines) this.transcript.set(line.id, line);
    trim(this.transcript, KEPT_LINES);
  }
}
