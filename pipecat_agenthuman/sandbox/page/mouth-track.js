// A session's mouth over time, known ahead of its sound. Pure.

import { CLOSED } from "./face/mouth-shape.js";

const FORGET_SECS = 5; // what is older is never drawn again
const FIELDS = 4;

/** Mouth frames on the sandbox's clock. */
export class MouthTrack {
  #times = [];
  #frames = [];
  #rate;

  /** rate: frames per second. */
  constructor(rate) {
    this.#rate = rate;
  }

  /** Take frames from `at` on, `bytes` as in the message; they replace what was known from there. */
  take(at, bytes) {
    this.cut(at);
    this.#forget(at - FORGET_SECS);
    for (let i = 0; i * FIELDS < bytes.length; i++) {
      const [open, wide, teeth, press] = bytes.subarray(i * FIELDS, (i + 1) * FIELDS);
      this.#times.push(at + i / this.#rate);
      this.#frames.push({ open: open / 255, wide: (wide - 128) / 127, teeth: teeth / 255, press: press / 255 });
    }
  }

  /** Forget everything from a time on: it will not sound. */
  cut(at) {
    const first = this.#after(at - 1e-6);
    this.#times.length = first;
    this.#frames.length = first;
  }

  /** The mouth at a time, between the frames around it; closed where nothing is known. */
  at(secs) {
    const next = this.#after(secs);
    const before = this.#frames[next - 1];
    if (before === undefined || secs - this.#times[next - 1] > 1.5 / this.#rate) return CLOSED;
    const after = this.#frames[next] ?? CLOSED;
    const span = Math.max((this.#times[next] ?? this.#times[next - 1] + 1 / this.#rate) - this.#times[next - 1], 1e-6);
    const k = Math.min(1, (secs - this.#times[next - 1]) / span);
    const mix = (name) => before[name] + (after[name] - before[name]) * k;
    return { open: mix("open"), wide: mix("wide"), teeth: mix("teeth"), press: mix("press") };
  }

  #after(secs) {
    let low = 0;
    let high = this.#times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#times[middle] <= secs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #forget(before) {
    const first = this.#after(before);
    if (first < 500) return; // now and then, not with every message
    this.#times.splice(0, first);
    this.#frames.splice(0, first);
  }
}
