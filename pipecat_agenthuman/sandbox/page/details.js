// What one message or utterance says in full.

import { byId, make, setText } from "./dom.js";
import { duration } from "./session-words.js";
import { clockTime } from "./utterance-list.js";
import { detailsOf, wayOf } from "./wire-words.js";

/** The panel with the details of what was clicked. */
export class Details {
  #panel = byId("details");
  #openedFrom = null;

  constructor() {
    byId("details-close").onclick = () => this.close();
    this.#panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation(); // here it closes, elsewhere it interrupts
      this.close();
    });
  }

  /** Show `{entry, words}` or `{utterance}`. */
  show(thing) {
    if (this.#panel.hidden) this.#openedFrom = document.activeElement;
    if (thing.utterance) this.#showUtterance(thing.utterance);
    else this.#showEntry(thing);
    this.#panel.hidden = false;
    this.#panel.focus({ preventScroll: true });
  }

  /** Hide it, and go back to where it was opened. */
  close() {
    this.#panel.hidden = true;
    this.#openedFrom?.focus?.({ preventScroll: true });
  }

  #showEntry({ entry, words }) {
    setText(byId("details-title"), words.text);
    this.#fill([
      ["what", entry.what],
      ["way", wayOf(entry)],
      ["at", `${clockTime(entry.at_secs)} (${entry.wall})`],
      ["session", entry.session_id ?? "none"],
      ...detailsOf(entry),
      ["number", String(entry.number)],
    ]);
    byId("details-message").hidden = entry.message === undefined;
    setText(byId("details-message"), entry.message === undefined ? "" : indented(entry.message));
  }

  #showUtterance(one) {
    setText(byId("details-title"), one.summary || "It is speaking");
    const gaps = one.gaps.map((gap) => `${duration(gap.duration_secs)} at ${clockTime(gap.at_secs)}`);
    this.#fill([
      ["utterance", `${one.number} of its session`],
      ["session", one.session_id],
      ["sounds", `${clockTime(one.starts_at_secs)} to ${clockTime(one.ends_at_secs)}`],
      ["first message", clockTime(one.first_sent_at_secs)],
      ["messages", String(one.messages)],
      ["sent", duration(one.sent_secs)],
      ["heard", one.state === "speaking" ? "it is not over yet" : duration(one.heard_secs)],
      ["cut", one.dropped_secs > 0 ? duration(one.dropped_secs) : "nothing"],
      ["least lead", one.lead_min_secs === null ? "not known" : duration(one.lead_min_secs)],
      ["stuttered", gaps.length > 0 ? gaps.join(", ") : "never"],
    ]);
    byId("details-message").hidden = true;
  }

  #fill(pairs) {
    byId("details-pairs").replaceChildren(...pairs.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
  }
}

function indented(message) {
  try {
    return JSON.stringify(JSON.parse(message), null, 2);
  } catch {
    return message; // shortened, or never was JSON
  }
}
