// The sandbox's clock, as seen from here. Pure: times are handed in, all in seconds.

const KEPT_ROUND_TRIPS = 16; // about half a minute of pings

/** Knows what time it is in the sandbox, from round trips of a ping. */
export class SandboxClock {
  #samples = [];
  #offset = null;

  /** Seconds to add to the page's clock; null before anything is known. */
  get offset() {
    return this.#offset;
  }

  /** Take a time that came without having been asked for: late by an unknown way. */
  guess(now, sandboxNow) {
    this.#samples = [];
    this.#offset = sandboxNow - now;
  }

  /** Take the answer to a ping. The quickest of the latest ones is believed. */
  take(sentAt, receivedAt, sandboxNow) {
    const sample = { roundTrip: receivedAt - sentAt, offset: sandboxNow - (sentAt + receivedAt) / 2 };
    this.#samples.push(sample);
    if (this.#samples.length > KEPT_ROUND_TRIPS) this.#samples.shift();
    this.#offset = this.#samples.reduce((a, b) => (b.roundTrip < a.roundTrip ? b : a)).offset;
  }

  /** The sandbox's time at a time of the page. */
  at(now) {
    return now + (this.#offset ?? 0);
  }
}

/** The page's own clock: the one that animation frames and audio contexts refer to. */
export const pageNow = () => performance.now() / 1000;
