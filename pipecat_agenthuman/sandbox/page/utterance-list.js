// One line for each utterance, newest first.

import { byId, make, onceAFrame, setText } from "./dom.js";
import { pageNow } from "./sandbox-clock.js";
import { characterOf } from "./face/characters.js";

const LIVE_MS = 200; // how often the line of what sounds now moves on

const LABELS = { speaking: "speaking", heard: "heard", interrupted: "interrupted", lost: "not heard" };

/** Shows the utterances. */
export class UtteranceList {
  #room;
  #clock;
  #filter;
  #rows = new Map();
  #list = byId("utterances");
  #draw = onceAFrame(() => this.#redraw());

  /** Called with the utterance that was clicked. */
  onPick = null;

  constructor(room, clock, filter) {
    this.#room = room;
    this.#clock = clock;
    this.#filter = filter;
    room.news.on("utterances", this.#draw);
    filter.news.on("change", this.#draw);
    setInterval(() => this.#moveOn(), LIVE_MS);
  }

  #redraw() {
    const shown = [...this.#room.utterances].filter(([, one]) => this.#filter.showsSession(one.session_id));
    shown.sort(([, a], [, b]) => b.starts_at_secs - a.starts_at_secs);
    const keys = new Set(shown.map(([key]) => key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    shown.forEach(([key, one], index) => {
      const row = this.#rows.get(key) ?? this.#add(key);
      this.#update(row, one);
      if (this.#list.children[index] !== row.element) this.#list.insertBefore(row.element, this.#list.children[index] ?? null);
    });
    byId("no-utterances").hidden = shown.length > 0;
    setText(byId("utterance-count"), shown.length > 0 ? String(shown.length) : "");
  }

  #add(key) {
    const part = (name) => make("span", { class: name });
    const row = { one: null, time: part("time"), who: part("who"), summary: part("summary"), state: part("state"), bar: part("part") };
    const button = make(
      "button", { type: "button", class: "utterance", onclick: () => this.onPick?.(row.one) },
      row.time, row.who, row.summary, row.state, make("span", { class: "whole", "aria-hidden": "true" }, row.bar),
    );
    row.button = button;
    row.element = make("li", {}, button);
    this.#rows.set(key, row);
    return row;
  }

  #update(row, one) {
    row.one = one;
    const session = this.#room.sessions.get(one.session_id);
    row.button.dataset.state = one.state;
    setText(row.time, clockTime(one.starts_at_secs));
    setText(row.who, session ? characterOf(session.avatar).name : "");
    setText(row.state, LABELS[one.state] ?? one.state);
    this.#fill(row);
  }

  #fill(row) {
    const { one } = row;
    const isOver = one.state !== "speaking";
    const sounded = Math.min(one.ends_at_secs, this.#clock.at(pageNow())) - one.starts_at_secs;
    const heard = isOver ? one.heard_secs : Math.max(0, Math.min(one.sent_secs, sounded));
    setText(row.summary, isOver ? one.summary : `${heard.toFixed(1)} s of ${one.sent_secs.toFixed(1)} s so far`);
    row.bar.style.width = `${one.sent_secs > 0 ? (100 * heard) / one.sent_secs : 0}%`;
  }

  #moveOn() {
    for (const row of this.#rows.values()) if (row.one.state === "speaking") this.#fill(row);
  }
}

/** A time of the sandbox as minutes and seconds. */
export function clockTime(secs) {
  const tenths = Math.floor(secs * 10 + 1e-6) / 10;
  const rest = (tenths % 60).toFixed(1).padStart(4, "0");
  return `${Math.floor(tenths / 60)}:${rest}`;
}
