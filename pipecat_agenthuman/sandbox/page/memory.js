// What the bot remembers: its context, word by word, as it is heard.

import { byId, make, setText } from "./dom.js";

const NAMES = { system: "Instructions", user: "You", assistant: "Bot", tool: "Tool" };

/** Shows the bot's memory; words that are new stand out for a moment. */
export class Memory {
  #list = byId("memory");
  #rows = [];

  constructor(room) {
    room.news.on("memory", () => this.#show(room.memory));
  }

  /** Go to the newest word. */
  showNewest() {
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  #show(messages) {
    const follows = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 60;
    while (this.#rows.length > messages.length) this.#rows.pop().element.remove();
    messages.forEach((message, index) => {
      const row = this.#rows[index] ?? this.#add();
      this.#write(row, message);
    });
    byId("no-memory").hidden = messages.length > 0;
    const words = messages.reduce((count, { text }) => count + (text.match(/\S+/g)?.length ?? 0), 0);
    setText(byId("memory-count"), words > 0 ? String(words) : "");
    if (follows) this.showNewest();
  }

  #add() {
    const role = make("span", { class: "who" });
    const text = make("p", {});
    const row = { element: make("li", {}, role, text), role, text, known: "" };
    this.#list.append(row.element);
    this.#rows.push(row);
    return row;
  }

  #write(row, { role, text }) {
    setText(row.role, NAMES[role] ?? role);
    row.element.className = `remembered ${role}`;
    if (text === row.known) return;
    if (text.startsWith(row.known)) {
      for (const word of text.slice(row.known.length).match(/\s*\S+|\s+/g)) row.text.append(make("span", { class: "new" }, word));
    } else {
      row.text.replaceChildren(text); // it was corrected: nothing of it is new
    }
    row.known = text;
  }
}
