// What of the wire the person wants to see.

import { byId, make, setText } from "./dom.js";
import { Signal } from "./signal.js";
import { LANES } from "./wire-words.js";

/**
 * Lanes to be seen, and whether of all sessions or of the one on the stage and those that it took
 * over from: who makes trouble wants to see what came before it, too. Its `news` has the topic "change".
 */
export class Filter {
  news = new Signal();
  #room;
  #hidden = new Set();
  #showsAll = false;
  #line = new Set(); // of the session on the stage

  constructor(room) {
    this.#room = room;
    for (const lane of LANES) byId("lanes").append(this.#chip(lane));
    byId("all-sessions").onclick = () => {
      this.#showsAll = !this.#showsAll;
      byId("all-sessions").setAttribute("aria-pressed", String(this.#showsAll));
      this.news.tell("change");
    };
    room.news.on("selected", () => this.#trace());
    room.news.on("sessions", () => this.#trace());
    this.#offer();
  }

  /** Whether a lane is to be seen. */
  showsLane(id) {
    return !this.#hidden.has(id);
  }

  /** Whether a session's doings are; those of none always are. */
  showsSession(sessionId) {
    return this.#showsAll || !sessionId || this.#line.size === 0 || this.#line.has(sessionId);
  }

  #trace() {
    const line = this.#room.lineOf(this.#room.selectedId);
    const isSame = line.size === this.#line.size && [...line].every((id) => this.#line.has(id));
    this.#line = line;
    this.#offer();
    if (!isSame) this.news.tell("change");
  }

  #offer() {
    byId("all-sessions").hidden = this.#room.sessions.size <= this.#line.size && !this.#showsAll;
  }

  #chip(lane) {
    const chip = make("button", {
      type: "button", class: "chip", "aria-pressed": "true", title: lane.title,
      onclick: () => {
        if (!this.#hidden.delete(lane.id)) this.#hidden.add(lane.id);
        chip.setAttribute("aria-pressed", String(this.showsLane(lane.id)));
        this.news.tell("change");
      },
    });
    chip.dataset.lane = lane.id;
    setText(chip, lane.label);
    return chip;
  }
}
