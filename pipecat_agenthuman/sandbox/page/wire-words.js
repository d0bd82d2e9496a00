// What goes over the wire, sorted into lanes and put into words. Pure.

const RATE = 16000;

/** The lanes, from top to bottom. */
export const LANES = Object.freeze([
  { id: "calls", label: "Sessions", title: "REST calls, sessions, sockets, and who is in the room" },
  { id: "audio", label: "Audio in", title: "agent.speak: speech that the bot sends" },
  { id: "confirmed", label: "Confirmed", title: "agent.speak.confirmed, with the time from message to confirmation" },
  { id: "playing", label: "Playing", title: "What sounds in the room; hatched: cut, nobody will hear it" },
  { id: "lead", label: "Lead", title: "How much speech is queued ahead of what sounds" },
  { id: "interrupts", label: "Interrupts", title: "agent.interrupt, the cut, and the confirmation" },
  { id: "trouble", label: "Trouble", title: "Faults, errors, and lost connections" },
].map(Object.freeze));

const seconds = (samples, rate = RATE) => samples / rate;
const short = (secs) => (secs < 1 ? `${Math.round(secs * 1000)} ms` : `${secs.toFixed(2)} s`);

const HOW_ENDED = { "end request": "its bot ended it", expired: "it expired" };

const WORDS = {
  "agent.speak": (e) => e.direction === "in" && ["audio", `${short(seconds(e.samples ?? 0, e.sample_rate))} of speech sent`],
  "agent.speak.confirmed": (e) => [
    "confirmed",
    `${short(seconds(e.audio_samples ?? 0))} confirmed` + (e.after_secs === undefined ? "" : `, ${short(e.after_secs)} after it was sent`),
  ],
  "speech.queued": (e) => ["lead", `${short(seconds(e.samples))} queued, sounds at ${e.sounds_at_secs.toFixed(2)}`],
  "agent.interrupt": () => ["interrupts", "Interrupt"],
  "speech.cut": (e) => ["interrupts", e.dropped_samples ? `Silenced: ${short(seconds(e.dropped_samples))} will not be heard` : "Silenced: nothing was sounding"],
  "agent.interrupt.confirmed": (e) => ["interrupts", "Interrupt confirmed" + (e.after_secs === undefined ? "" : `, ${short(e.after_secs)} after it was sent`)],
  error: (e) => ["trouble", `Error: ${e.error}`],
  fault: (e) => ["trouble", `Fault: ${e.kind} on ${e.on}`],
  garbage: () => ["trouble", "Garbage was sent"],
  lost: () => ["trouble", "The bot's connection was lost"],
  abort: () => ["trouble", "The connection was reset"],
  close: (e) => [normalClose(e) ? "calls" : "trouble", `${e.direction === "in" ? "The bot" : "The service"} closed the socket${e.code ? ` (${e.code})` : ""}`],
  "session.init": () => ["calls", "The bot introduces itself"],
  "connection.established": () => ["calls", "The service accepts the connection"],
  "session.created": (e) => ["calls", `Session created for ${e.avatar}`],
  "session.ended": (e) => ["calls", `Session ended: ${HOW_ENDED[e.reason] ?? e.reason}`],
  "avatar.joined": () => ["calls", "The avatar joined the room"],
  "avatar.left": () => ["calls", "The avatar left the room"],
  "socket.opened": () => ["calls", "A socket was opened"],
  "socket.closed": () => ["calls", "The socket is closed"],
  utterance: (e) => ["playing", e.summary ?? "An utterance is over"],
  "sandbox.started": () => ["calls", "The sandbox started"],
};

/** Where marks lie on each other, the one that says most is written out. */
const SAYING = { "session.created": 2, "session.ended": 3, "speech.cut": 2, "agent.interrupt": 1, error: 2, "avatar.left": 2 };

const normalClose = (entry) => entry.code === undefined || entry.code === 1000 || entry.code === 1001;
const isRest = (entry) => /^(GET|POST|DELETE|PUT|PATCH) /.test(entry.what);

/**
 * An entry's place and words: its `lane`, its `text`, whether it is `bad` news, and how much it is
 * `saying`. Null for what keeps the line alive and nobody wants to read (pings).
 */
export function wordsOf(entry) {
  if (entry.what === "ping" || entry.what === "pong") return null;
  if (isRest(entry)) return restWords(entry);
  const [lane, text] = WORDS[entry.what]?.(entry) || ["calls", entry.what];
  return { lane, text, bad: lane === "trouble" && entry.what !== "fault", saying: SAYING[entry.what] ?? 0 };
}

function restWords(entry) {
  const bad = entry.direction === "out" && entry.status >= 400;
  const status = entry.status === undefined ? "" : ` → ${entry.status}`;
  const error = entry.error ? `: ${entry.error}` : "";
  const after = entry.after_secs === undefined ? "" : `, ${short(entry.after_secs)}`;
  return { lane: bad ? "trouble" : "calls", text: `${entry.what}${status}${error}${after}`, bad, saying: bad ? 3 : 0 };
}

/** Which way an entry went, for a person. */
export const wayOf = (entry) =>
  ({ in: "bot → service", out: "service → bot", room: "in the room", sandbox: "the sandbox" })[entry.direction] ?? entry.direction;

const HEAD = new Set(["number", "at_secs", "wall", "session_id", "direction", "what"]);

/** An entry's details as pairs of a name and a text. */
export function detailsOf(entry) {
  const pairs = Object.entries(entry).filter(([name]) => !HEAD.has(name) && name !== "message");
  return pairs.map(([name, value]) => {
    if (name === "samples") return ["audio", `${value} samples, ${short(seconds(value, entry.sample_rate))}`];
    if (name.endsWith("_samples") && typeof value === "number") return [name, `${value}, ${short(seconds(value))}`];
    if (name === "after_secs") return ["after", short(value)];
    return [name, String(value)];
  });
}

/**
 * The speech that is queued ahead of what sounds, over time: corners `[secs, lead]` of a line.
 * It rises with each message that is queued, falls with time, and ends with a cut.
 */
export function leadCorners(entries) {
  const corners = [];
  let quietAt = -Infinity;
  for (const entry of entries) {
    const at = entry.at_secs;
    if (!["speech.queued", "speech.cut", "session.ended"].includes(entry.what)) continue;
    if (quietAt < at && quietAt > -Infinity) corners.push([quietAt, 0]);
    corners.push([at, Math.max(0, quietAt - at)]);
    quietAt = entry.what === "speech.queued" ? entry.sounds_at_secs + seconds(entry.samples) : Math.min(quietAt, at);
    corners.push([at, Math.max(0, quietAt - at)]);
  }
  if (quietAt > -Infinity) corners.push([quietAt, 0]);
  return corners;
}
