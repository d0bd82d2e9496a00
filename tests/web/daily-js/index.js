// A stand-in of @daily-co/daily-js: what Pipecat's Daily transport calls of it, and no more.
//
// A test builds a page with this module in the place of the real one, joins participants to
// `window.dailyRoom`, and lets them publish, speak and leave. What it takes over from daily-js
// 0.90 (read in its distribution):
//
// - Of each piece of news on a participant the order is: `track-stopped` and `track-started` of
//   what changed, compared with what was known before; then the participant is known anew; then
//   `participant-joined` or `participant-updated`. So a handler of `track-started` that asks
//   `participants()` reads what was true before. Of one who leaves: `track-stopped`, then
//   `participant-left`.
// - Whoever was there before is announced by `participant-joined`, too, once the meeting is
//   joined: without media, which follow when they arrive.
// - A track starts when it becomes playable, and stops when it no longer is. A medium that is off
//   keeps its `persistentTrack` and has no `track`; it is the same track when it is on again.
//
// The sound is real: each microphone is a tone of its own frequency, that sounds while its
// participant speaks. `ear.js` beside this folder hears which of them the page plays.

const MEDIA = ["audio", "video", "screenAudio", "screenVideo"];

let context;
const audioContext = () => (context ??= new AudioContext());

/** A tone that is heard while its gain is 1. */
function microphone(toneHz) {
  const oscillator = new OscillatorNode(audioContext(), { frequency: toneHz });
  const gain = new GainNode(audioContext(), { gain: 0 });
  const destination = new MediaStreamAudioDestinationNode(audioContext());
  oscillator.connect(gain).connect(destination);
  oscillator.start();
  const [track] = destination.stream.getAudioTracks();
  return { track, toneHz, gain, end: () => (oscillator.stop(), track.stop()) };
}

/** A picture of one colour with a name on it. */
function camera(name, colour) {
  const canvas = document.createElement("canvas");
  canvas.width = 160;
  canvas.height = 120;
  const drawing = canvas.getContext("2d");
  const draw = () => {
    drawing.fillStyle = colour;
    drawing.fillRect(0, 0, 160, 120);
    drawing.fillStyle = "white";
    drawing.font = "20px sans-serif";
    drawing.fillText(name, 10, 66);
  };
  const [track] = canvas.captureStream(0).getVideoTracks();
  // Without a new picture an element has none to show: each is asked for.
  const timer = setInterval(() => (draw(), track.requestFrame()), 250);
  draw();
  return { track, end: () => (clearInterval(timer), track.stop()) };
}

class Participant {
  constructor({ session_id, user_id = session_id, user_name = "", owner = false, local = false }) {
    Object.assign(this, { session_id, user_id, user_name, owner, local });
    this.sources = {}; // by medium: what was ever published
    this.states = Object.fromEntries(MEDIA.map((medium) => [medium, "off"]));
  }

  /** As daily-js reports it, with the states as they are now or as given. */
  seen(states = this.states) {
    const tracks = {};
    for (const medium of MEDIA) {
      const persistentTrack = this.sources[medium]?.track;
      const state = states[medium];
      tracks[medium] = { subscribed: true, state };
      if (persistentTrack && state !== "loading") tracks[medium].persistentTrack = persistentTrack;
      if (state === "playable") tracks[medium].track = persistentTrack;
      if (state === "off") tracks[medium].off = { byUser: true };
    }
    return {
      session_id: this.session_id,
      user_id: this.user_id,
      user_name: this.user_name,
      local: this.local,
      owner: this.owner,
      permissions: { hasPresence: true, canSend: true, canAdmin: false, canReceive: { base: true } },
      tracks,
    };
  }
}

/** The room: the test's hand, and what it can look at. */
class DailyRoom {
  people = new Map();
  calls = [];
  /** What the clients sent: {message, to}. */
  sent = [];
  /** What happened, as the clients were told: [event, session_id or null]. */
  told = [];
  /** The order in which the sounds of those arrive who were there before a client. */
  arrivals = (people) => people;

  /** Let somebody join. */
  join(who) {
    const someone = new Participant(who);
    this.people.set(someone.session_id, someone);
    for (const call of this.calls) call.learn("participant-joined", someone.seen());
  }

  /** Put a microphone or a camera on. The same track each time, unless `anew`. */
  publish(session_id, kind, { toneHz = 440, colour = "teal", anew = false } = {}) {
    const someone = this.people.get(session_id);
    if (anew) someone.sources[kind]?.end();
    if (anew || !someone.sources[kind]) {
      someone.sources[kind] =
        kind === "audio" ? microphone(toneHz) : camera(someone.user_name, colour);
    }
    someone.states[kind] = "playable";
    for (const call of this.calls) call.learn("participant-updated", someone.seen());
  }

  /** Put a microphone or a camera off. */
  unpublish(session_id, kind) {
    const someone = this.people.get(session_id);
    someone.states[kind] = "off";
    for (const call of this.calls) call.learn("participant-updated", someone.seen());
  }

  /** Let a microphone sound, or not: what is said is said whether it is published or not. */
  speak(session_id, does = true) {
    this.people.get(session_id).sources.audio.gain.gain.value = does ? 1 : 0;
  }

  /** Take another name, which everybody may at any time. */
  rename(session_id, user_name) {
    const someone = this.people.get(session_id);
    someone.user_name = user_name;
    for (const call of this.calls) call.learn("participant-updated", someone.seen());
  }

  /** Let somebody leave; the tracks end, as they do when a peer is gone. */
  leave(session_id) {
    const someone = this.people.get(session_id);
    this.people.delete(session_id);
    const last = someone.seen();
    for (const call of this.calls) call.forget(last);
    for (const source of Object.values(someone.sources)) source.end();
  }

  /** An app message, such as the bot's RTVI messages. */
  message(data, fromId) {
    for (const call of this.calls) call.emit("app-message", { data, fromId });
  }

  /** The answer to `client-ready`, on which `connect()` waits. */
  botReady(fromId, version = "2.0.0") {
    this.message(
      { label: "rtvi-ai", type: "bot-ready", id: "ready", data: { version, about: {} } },
      fromId,
    );
  }

  /** Put the client out, as when its token expires. */
  eject() {
    for (const call of [...this.calls]) call.leave();
  }

  /** Who could be heard if everything were played: tones by session id. */
  get tones() {
    return Object.fromEntries(
      [...this.people.values()]
        .filter((someone) => someone.sources.audio?.toneHz)
        .map((someone) => [someone.session_id, someone.sources.audio.toneHz]),
    );
  }
}

const room = (globalThis.dailyRoom ??= new DailyRoom());

const DEVICES = [
  { kind: "audioinput", deviceId: "mic-1", label: "A microphone", groupId: "1" },
  { kind: "videoinput", deviceId: "cam-1", label: "A camera", groupId: "1" },
  { kind: "audiooutput", deviceId: "default", label: "Loudspeakers", groupId: "1" },
];

/** A call object: one client's seat in the room. */
class DailyCall {
  #handlers = new Map();
  #participants = {};
  #observers = { local: false, remote: false };
  #me;

  constructor(options = {}) {
    this.options = options;
  }

  // --- what the room does ---------------------------------------------------------------

  emit(action, event = {}) {
    const who = event.participant?.session_id ?? event.fromId ?? null;
    room.told.push([action, who, event.type ?? null]);
    for (const handler of [...(this.#handlers.get(action) ?? [])]) handler({ action, ...event });
  }

  learn(action, participant) {
    const key = participant.local ? "local" : participant.session_id;
    const before = this.#participants[key];
    for (const medium of MEDIA) this.#stopped(medium, before, participant);
    for (const medium of MEDIA) this.#started(medium, before, participant);
    this.#participants[key] = participant;
    this.emit(action, { participant });
  }

  forget(participant) {
    const before = this.#participants[participant.session_id];
    for (const medium of MEDIA) this.#stopped(medium, before, null);
    delete this.#participants[participant.session_id];
    this.emit("participant-left", { participant, reason: "leftCall" });
  }

  #stopped(type, before, now) {
    const [was, is] = [before?.tracks[type], now?.tracks[type]];
    if (!was?.track || was.state !== "playable") return;
    if (is?.state === "playable" && is.track?.id === was.track.id) return;
    this.emit("track-stopped", { track: was.track, participant: now ?? before, type });
  }

  #started(type, before, now) {
    const [was, is] = [before?.tracks[type], now.tracks[type]];
    if (!is.track || is.state !== "playable") return;
    if (was?.state === "playable" && was.track?.id === is.track.id) return;
    this.emit("track-started", { track: is.track, participant: now, type });
  }

  // --- what daily-js has ------------------------------------------------------------------

  on(action, handler) {
    if (!this.#handlers.has(action)) this.#handlers.set(action, new Set());
    this.#handlers.get(action).add(handler);
    return this;
  }

  once(action, handler) {
    const first = (event) => (this.off(action, first), handler(event));
    return this.on(action, first);
  }

  off(action, handler) {
    this.#handlers.get(action)?.delete(handler);
    return this;
  }

  async preAuth() {}

  async startCamera() {
    const [mic, camera, speaker] = DEVICES;
    return { mic, camera: this.options.startVideoOff === false ? camera : {}, speaker };
  }

  async enumerateDevices() {
    return { devices: DEVICES };
  }

  async setInputDevicesAsync() {
    const [mic, camera, speaker] = DEVICES;
    return { mic, camera, speaker };
  }

  async setOutputDeviceAsync() {
    return this.setInputDevicesAsync();
  }

  async join(options = {}) {
    this.joined = options;
    this.#me = new Participant({ session_id: "me", user_name: "A person", local: true });
    this.#me.sources.audio = microphone(110);
    this.#me.states.audio = options.startAudioOff ? "off" : "playable";
    room.calls.push(this);
    this.learn("participant-updated", this.#me.seen());
    this.emit("joined-meeting", { participants: { local: this.#me.seen() } });
    const present = [...room.people.values()];
    const off = Object.fromEntries(MEDIA.map((medium) => [medium, "off"]));
    for (const someone of present) {
      const loading = Object.fromEntries(
        Object.entries(someone.states).map(([medium, state]) =>
          state === "playable" ? [medium, "loading"] : [medium, state],
        ),
      );
      this.learn("participant-joined", someone.seen({ ...off, ...loading }));
    }
    queueMicrotask(() => {
      for (const someone of room.arrivals(present)) {
        if (room.people.has(someone.session_id) && room.calls.includes(this)) {
          this.learn("participant-updated", someone.seen());
        }
      }
    });
    return { local: this.#me.seen() };
  }

  async leave() {
    if (!room.calls.includes(this)) return;
    room.calls.splice(room.calls.indexOf(this), 1);
    for (const source of Object.values(this.#me.sources)) source.end();
    this.#participants = {};
    this.emit("left-meeting");
  }

  async destroy() {
    await this.leave();
  }

  async room() {
    return { name: "room", domainConfig: {}, config: {} };
  }

  meetingSessionSummary() {
    return { id: "meeting" };
  }

  participants() {
    return { ...this.#participants };
  }

  setLocalAudio(on) {
    this.#set("audio", on);
    return this;
  }

  setLocalVideo(on) {
    if (on) this.#me.sources.video ??= camera("A person", "indigo");
    this.#set("video", on);
    return this;
  }

  #set(medium, on) {
    this.#me.states[medium] = on ? "playable" : "off";
    this.learn("participant-updated", this.#me.seen());
  }

  localAudio() {
    return this.#me?.states.audio === "playable";
  }

  localVideo() {
    return this.#me?.states.video === "playable";
  }

  localScreenAudio() {
    return false;
  }

  localScreenVideo() {
    return false;
  }

  startScreenShare() {}

  stopScreenShare() {}

  sendAppMessage(message, to = "*") {
    room.sent.push({ message: structuredClone(message), to });
    return this;
  }

  isLocalAudioLevelObserverRunning() {
    return this.#observers.local;
  }

  async startLocalAudioLevelObserver() {
    this.#observers.local = true;
  }

  stopLocalAudioLevelObserver() {
    this.#observers.local = false;
  }

  isRemoteParticipantsAudioLevelObserverRunning() {
    return this.#observers.remote;
  }

  async startRemoteParticipantsAudioLevelObserver() {
    this.#observers.remote = true;
  }

  stopRemoteParticipantsAudioLevelObserver() {
    this.#observers.remote = false;
  }
}

const createCallObject = (options) => new DailyCall(options);

export default { createCallObject, getCallInstance: () => room.calls[0] };
