// Every message, request and event, as lines; the newest below.

import { byId, make, onceAFrame } from "./dom.js";
import { clockTime } from "./utterance-list.js";
import { wordsOf } from "./wire-words.js";

const SHOWN = 300;
const AT_END_PX = 24; // so near to the end, the list follows
const ARROWS = { in: "→", out: "←", room: "◦", sandbox: "·" };
const WAYS = { in: "from the bot", out: "to the bot", room: "in the room", sandbox: "the sandbox" };

/** Shows the entries of the log. */
export class MessageList {
  #room;
  #filter;
  #list = byId("messages");
  #isPaused = false;
  #lastNumber = 0;
  #isStale = true;
  #draw = onceAFrame(() => this.#redraw());

  /** Called with the `{entry, words}` that was clicked. */
  onPick = null;

  constructor(room, filter) {
    this.#room = room;
    this.#filter = filter;
    room.news.on("entries", (fresh) => {
      if (fresh.length === 0) this.#isStale = true;
      this.#draw();
    });
    for (const news of [[filter.news, "change"], [room.news, "hello"]]) {
      news[0].on(news[1], () => {
        this.#isStale = true;
        this.#draw();
      });
    }
  }

  /** Stand still: what comes meanwhile is shown later. */
  pause(isPaused) {
    this.#isPaused = isPaused;
    this.#draw();
  }

  /** Go to the newest line. */
  showNewest() {
    const scroller = this.#list.closest(".scroll");
    scroller.scrollTop = scroller.scrollHeight;
  }

  #redraw() {
    if (this.#isPaused && !this.#isStale) return;
    if (this.#isStale) {
      this.#isStale = false;
      this.#lastNumber = 0;
      this.#list.replaceChildren();
    }
    const scroller = this.#list.closest(".scroll");
    const follows = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < AT_END_PX;
    const fresh = this.#room.entries.filter((entry) => entry.number > this.#lastNumber);
    const lines = fresh
      .filter((entry) => this.#filter.showsSession(entry.session_id))
      .map((entry) => ({ entry, words: wordsOf(entry) }))
      .filter(({ words }) => words !== null && this.#filter.showsLane(words.lane))
      .slice(-SHOWN);
    if (fresh.length > 0) this.#lastNumber = fresh.at(-1).number;
    this.#list.append(...lines.map((line) => this.#line(line)));
    while (this.#list.childElementCount > SHOWN) this.#list.firstChild.remove();
    byId("no-messages").hidden = this.#list.childElementCount > 0;
    if (follows) this.showNewest();
  }

  #line(thing) {
    const { entry, words } = thing;
    const button = make(
      "button", { type: "button", class: "message", onclick: () => this.onPick?.(thing) },
      make("span", { class: "time" }, clockTime(entry.at_secs)),
      make("span", { class: "arrow", title: WAYS[entry.direction] ?? "" }, ARROWS[entry.direction] ?? "·"),
      make("span", { class: "text" }, words.text),
    );
    button.dataset.lane = words.lane;
    button.classList.toggle("bad", words.bad);
    return make("li", {}, button);
  }
}
