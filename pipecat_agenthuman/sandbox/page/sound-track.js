// When a session sounds, and how loud: for the timeline and for who speaks now. Pure.

export const PEAK_SECS = 0.02;
const KEPT_SECS = 240;
const NO_BREAK_SECS = 0.001;

/** The sound of one session, as runs without a break: `startsAt`, `endsAt`, `peaks` (0 to 1, one for every 20 ms). */
export class SoundTrack {
  runs = [];
  #rate;

  /** rate: samples per second. */
  constructor(rate) {
    this.#rate = rate;
  }

  /** Take 16-bit samples that sound from a time on; those of a time that is known already are not taken again. */
  take(startsAt, pcm) {
    const last = this.runs.at(-1);
    const endsAt = startsAt + pcm.length / this.#rate;
    if (last !== undefined && endsAt <= last.endsAt + NO_BREAK_SECS) return;
    let run = last;
    if (last === undefined || startsAt > last.endsAt + NO_BREAK_SECS) {
      run = { startsAt, endsAt: startsAt, peaks: [] };
      this.runs.push(run);
    }
    for (let i = 0; i < pcm.length; i++) {
      const slot = Math.floor((startsAt - run.startsAt + i / this.#rate) / PEAK_SECS);
      const level = Math.abs(pcm[i]) / 32768;
      if (!(run.peaks[slot] >= level)) run.peaks[slot] = level;
    }
    run.endsAt = endsAt;
    while (this.runs[0].endsAt < endsAt - KEPT_SECS) this.runs.shift();
  }

  /** What would sound after a time never will. */
  cut(at) {
    while (this.runs.length > 0 && this.runs.at(-1).startsAt >= at) this.runs.pop();
    const last = this.runs.at(-1);
    if (last === undefined || last.endsAt <= at) return;
    last.endsAt = at;
    last.peaks.length = Math.min(last.peaks.length, Math.ceil((at - last.startsAt) / PEAK_SECS));
  }

  /** Whether it sounds at a time. */
  soundsAt(secs) {
    return this.runs.some((run) => run.startsAt <= secs && secs < run.endsAt);
  }
}
