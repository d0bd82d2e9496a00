// The room's socket: connects, stays connected, and keeps the time.

import { pageNow } from "./sandbox-clock.js";
import { readSpeech } from "./speech-message.js";

const FIRST_PINGS = 8;
const FIRST_PINGS_MS = 40;
const PING_MS = 2000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 5000;
const SEND_BUFFER_BYTES = 64_000; // two seconds of a microphone: beyond it, sound is not sent

/** A connection that tells `taker` of what comes: `opened()`, `message(m)`, `speech(s)`, `closed(why)`. */
export class Connection {
  #clock;
  #taker;
  #socket = null;
  #retryMs = FIRST_RETRY_MS;

  /** clock: a SandboxClock, which is set by the pings. */
  constructor(clock, taker) {
    this.#clock = clock;
    this.#taker = taker;
    setInterval(() => this.#ping(), PING_MS);
  }

  /** Connect, and again whenever the connection is lost. */
  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/room/ws`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      for (let i = 0; i < FIRST_PINGS; i++) setTimeout(() => this.#ping(), i * FIRST_PINGS_MS);
    };
    socket.onmessage = ({ data }) => this.#take(data);
    socket.onclose = ({ code }) => this.#lost(code);
    this.#socket = socket;
  }

  /** Send a message; whether it could be sent. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Send a piece of the microphone's sound. */
  sendSound(pcm) {
    const socket = this.#socket;
    if (socket?.readyState === WebSocket.OPEN && socket.bufferedAmount < SEND_BUFFER_BYTES) socket.send(pcm);
  }

  #ping() {
    this.send({ type: "ping", t: pageNow() });
  }

  #take(data) {
    if (data instanceof ArrayBuffer) {
      const speech = readSpeech(data);
      if (speech !== null) this.#taker.speech(speech);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "pong") {
      this.#clock.take(message.t, pageNow(), message.now_secs);
      return;
    }
    if (message.type === "hello") {
      this.#clock.guess(pageNow(), message.now_secs);
      this.#retryMs = FIRST_RETRY_MS;
      this.#taker.opened();
    }
    this.#taker.message(message);
  }

  async #lost(code) {
    const waitMs = this.#retryMs;
    this.#retryMs = Math.min(LONGEST_RETRY_MS, waitMs * 2);
    this.#taker.closed(await reason(code));
    setTimeout(() => this.open(), waitMs);
  }
}

/** Why there is no connection, in words for a person. */
async function reason(code) {
  if (code === 1013) return "This page was too slow; connecting again…";
  if (code === 1008) return "The sandbox refused what this page sent; connecting again…";
  try {
    const { room } = await (await fetch("/sandbox/state")).json();
    if (room && room.viewers >= room.max_viewers) {
      return `The room is full: ${room.viewers} pages look at it. Close one of them.`;
    }
    return "Connecting again…";
  } catch {
    return "The sandbox is not running. Start it again, and this page goes on.";
  }
}
