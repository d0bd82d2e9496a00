// Plays what sounds in the sandbox, when it sounds there.
//
// An audio context has a clock of its own, which runs a little faster or slower than the
// sandbox's and stands still while the machine is too busy to render. So the distance of the two
// is read again and again, and what is queued moves when they have come apart.

import { pageNow } from "./sandbox-clock.js";
import { OWN_VOICE } from "./speech-message.js";

const ANCHOR_EVERY_MS = 50;
const ANCHOR_READINGS = 15; // one reading jitters by the size of a device's buffer; the median does not
const ENOUGH_READINGS = 5;
const OUT_OF_STEP_SECS = 0.02; // heard as nothing, seen as nothing; above it, sound moves
const FADE_SECS = 0.004; // a cut without a click
const FADED_MS = 50; // when nothing of it is left
const KEPT_BEHIND_SECS = 0.5;

/** Schedules all sound; only one session is heard at a time, and the bot's own voice always. */
export class Player {
  #clock;
  #context = null;
  #tracks = new Map();
  #readings = [];
  #anchor = null; // context time = sandbox time + anchor
  #rate;
  #listenTo = null;

  /** clock: the sandbox's. rate: samples per second of everything that is played. */
  constructor(clock, rate) {
    this.#clock = clock;
    this.#rate = rate;
    this.resyncs = 0;
  }

  /** Whether sound comes out: browsers allow it only after a click or a key. */
  get isOn() {
    return this.#context !== null && this.#context.state === "running";
  }

  /** Whether it is known when what is played is heard. */
  get isInStep() {
    return this.isOn && this.#anchor !== null;
  }

  /** The audio context; null before the sound was first turned on. */
  get context() {
    return this.#context;
  }

  /** Where all sound goes through, for measuring it; null before the sound was first turned on. */
  output = null;

  /** Turn the sound on; resolves when it is, or is refused until the person clicks. */
  async turnOn() {
    if (this.#context === null) {
      this.#context = new AudioContext({ sampleRate: this.#rate, latencyHint: "interactive" });
      this.output = this.#context.createGain();
      this.output.connect(this.#context.destination);
      setInterval(() => this.#keepStep(), ANCHOR_EVERY_MS);
    }
    await this.#context.resume();
    this.#forgetAnchor();
  }

  /** Turn it off; what is to sound stays known. */
  async turnOff() {
    await this.#context?.suspend();
    this.#forgetAnchor();
  }

  /** Hear this session, and no other. */
  listenTo(sessionId) {
    this.#listenTo = sessionId;
    for (const [id, track] of this.#tracks) this.#setGain(id, track);
  }

  /** Whether a session can be heard: its avatar is in the room. */
  setAudible(sessionId, isAudible) {
    const track = this.#track(sessionId);
    track.isAudible = isAudible;
    this.#setGain(sessionId, track);
  }

  /** Take speech, as `readSpeech` returns it. */
  take(speech) {
    const track = this.#track(speech.sessionId);
    if (track.pieces.some((piece) => piece.number === speech.number)) return;
    const samples = Float32Array.from(speech.pcm, (sample) => sample / 32768);
    const endsAt = speech.startsAt + samples.length / this.#rate;
    track.pieces.push({ number: speech.number, startsAt: speech.startsAt, endsAt, samples, node: null });
    this.#schedule(speech.sessionId, track);
  }

  /** Silence a session from a time on, now. */
  cut(sessionId, at) {
    const track = this.#track(sessionId);
    const silenced = track.pieces.filter((piece) => piece.endsAt > at);
    track.pieces = track.pieces.filter((piece) => piece.endsAt <= at);
    if (track.gain === null) return;
    // The next speech gets a gain of its own, so that this fade does not touch it.
    const old = track.gain;
    track.gain = null;
    old.gain.setTargetAtTime(0, this.#context.currentTime, FADE_SECS / 3);
    setTimeout(() => {
      silenced.forEach(stop);
      old.disconnect();
    }, FADED_MS);
  }

  /** Forget a session. */
  forget(sessionId) {
    if (!this.#tracks.has(sessionId)) return;
    this.cut(sessionId, -Infinity);
    this.#tracks.delete(sessionId);
  }

  /** Forget all sound: the sandbox is another one, or says everything anew. */
  clear() {
    for (const id of this.#tracks.keys()) this.cut(id, -Infinity);
  }

  #track(id) {
    let track = this.#tracks.get(id);
    if (track === undefined) {
      track = { pieces: [], gain: null, isAudible: true, anchor: null };
      this.#tracks.set(id, track);
    }
    return track;
  }

  #gainOf(id, track) {
    if (track.gain === null) {
      track.gain = this.#context.createGain();
      track.gain.gain.value = this.#level(id, track);
      track.gain.connect(this.output);
    }
    return track.gain;
  }

  #level(id, track) {
    return id === OWN_VOICE || (track.isAudible && id === this.#listenTo) ? 1 : 0;
  }

  #setGain(id, track) {
    track.gain?.gain.setTargetAtTime(this.#level(id, track), this.#context.currentTime, FADE_SECS);
  }

  // --- in step ---

  #readAnchor() {
    if (!this.isOn || this.#clock.offset === null) return;
    const reading = this.#context.getOutputTimestamp();
    // What is audible at a time of the page, and not what is rendered then for later.
    const [heardAt, pageAt] = reading.performanceTime
      ? [reading.contextTime, reading.performanceTime / 1000]
      : [this.#context.currentTime - (this.#context.outputLatency || 0), pageNow()];
    this.#readings.push(heardAt - this.#clock.at(pageAt));
    if (this.#readings.length > ANCHOR_READINGS) this.#readings.shift();
    if (this.#readings.length < ENOUGH_READINGS) return;
    const sorted = this.#readings.toSorted((a, b) => a - b);
    this.#anchor = sorted[sorted.length >> 1];
  }

  #forgetAnchor() {
    this.#readings = [];
    this.#anchor = null;
    for (const track of this.#tracks.values()) this.#unschedule(track);
  }

  #keepStep() {
    this.#readAnchor();
    const forgetBefore = this.#clock.at(pageNow()) - KEPT_BEHIND_SECS;
    for (const [id, track] of this.#tracks) {
      track.pieces = track.pieces.filter((piece) => piece.endsAt > forgetBefore);
      if (this.#anchor === null) continue;
      if (track.anchor !== null && Math.abs(this.#anchor - track.anchor) > OUT_OF_STEP_SECS) {
        this.resyncs += track.pieces.length > 0 ? 1 : 0;
        this.#unschedule(track);
      }
      this.#schedule(id, track);
    }
  }

  #unschedule(track) {
    for (const piece of track.pieces) stop(piece);
    track.anchor = null;
  }

  #schedule(id, track) {
    if (!this.isOn || this.#anchor === null) return;
    for (const piece of track.pieces) {
      if (piece.node !== null) continue;
      // Pieces that follow each other lie on one grid, or there would be gaps between them.
      if (!track.pieces.some((other) => other.node !== null)) track.anchor = this.#anchor;
      const at = Math.round((piece.startsAt + track.anchor) * this.#rate) / this.#rate;
      const late = this.#context.currentTime - at;
      if (late >= piece.samples.length / this.#rate) continue;
      piece.node = this.#start(piece.samples, this.#gainOf(id, track), at, late);
    }
  }

  #start(samples, gain, at, late) {
    const buffer = this.#context.createBuffer(1, samples.length, this.#rate);
    buffer.copyToChannel(samples, 0);
    const node = this.#context.createBufferSource();
    node.buffer = buffer;
    node.connect(gain);
    if (late > 0) node.start(0, late);
    else node.start(at);
    return node;
  }
}

function stop(piece) {
  if (piece.node === null) return;
  piece.node.stop();
  piece.node.disconnect();
  piece.node = null;
}
