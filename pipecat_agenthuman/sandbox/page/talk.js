// Talking to the bot: typed, spoken, interrupted; and what was said so far.

import { byId, make, setText } from "./dom.js";

const AT_END_PX = 60;

/** The conversation and its controls. */
export class Talk {
  #room;
  #connection;
  #lines = new Map();
  #list = byId("transcript");
  #isNearEnd = true;

  constructor(room, connection) {
    this.#room = room;
    this.#connection = connection;
    room.news.on("talk", () => this.#offer());
    room.news.on("activity", () => this.#showActivity());
    room.news.on("transcript", () => this.#showLines());
    room.news.on("hello", () => this.#showAddresses());
    byId("say").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#say(byId("say-text").value);
    });
    byId("interrupt").onclick = () => this.interrupt();
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented) this.interrupt();
    });
    this.#list.addEventListener("scroll", () => (this.#isNearEnd = this.#distanceToEnd() < AT_END_PX), { passive: true });
  }

  /** Interrupt the bot, where there is one to be interrupted. */
  interrupt() {
    if (this.#room.talk.can_interrupt) this.#connection.send({ type: "interrupt" });
  }

  /** Go to the newest line. */
  showNewest() {
    this.#isNearEnd = true;
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  #say(text) {
    const field = byId("say-text");
    if (text.trim() === "" || !this.#connection.send({ type: "say", text: text.trim() })) return;
    field.value = "";
    field.focus();
  }

  #offer() {
    const { talk } = this.#room;
    byId("hosted").hidden = !talk.is_hosted;
    byId("unhosted").hidden = talk.is_hosted;
    if (!talk.is_hosted) return;
    setText(byId("talk-title"), talk.title);
    setText(byId("talk-introduction"), talk.introduction);
    byId("say").hidden = !talk.can_type;
    byId("interrupt").hidden = !talk.can_interrupt;
    byId("suggestions").replaceChildren(
      ...(talk.can_type ? talk.suggestions : []).map((text) =>
        make("button", { type: "button", class: "chip suggestion", onclick: () => this.#say(text) }, text),
      ),
    );
    setText(byId("why-not-speak"), talk.can_speak ? "" : (talk.why_not_speak ?? ""));
  }

  #showAddresses() {
    const { api_url: api, ws_url: ws } = this.#room.hello;
    setText(byId("environment"), `AGENTHUMAN_API_URL=${api}\nAGENTHUMAN_WS_URL=${ws}`);
  }

  #showActivity() {
    const { user_is_speaking: user, bot_is_thinking: thinking, bot_is_speaking: speaking } = this.#room.activity;
    setText(byId("activity"), user ? "Listening to you" : thinking ? "Thinking" : speaking ? "Speaking" : "");
    byId("activity").dataset.kind = user ? "user" : thinking ? "thinking" : speaking ? "bot" : "";
    byId("interrupt").classList.toggle("urgent", speaking);
  }

  #showLines() {
    const follows = this.#isNearEnd;
    for (const [id, { element }] of this.#lines) {
      if (this.#room.transcript.has(id)) continue;
      element.remove();
      this.#lines.delete(id);
    }
    for (const [id, line] of this.#room.transcript) {
      const shown = this.#lines.get(id) ?? this.#addLine(id);
      shown.element.className = `line ${line.who}${line.is_final ? "" : " partial"}`;
      setText(shown.who, line.who === "user" ? (line.how === "spoken" ? "You, by voice" : "You") : "Bot");
      setText(shown.text, line.text);
    }
    byId("no-lines").hidden = this.#lines.size > 0;
    if (follows) this.showNewest();
  }

  #addLine(id) {
    const who = make("span", { class: "who" });
    const text = make("span", { class: "text" });
    const element = make("li", {}, who, text);
    this.#list.append(element);
    const line = { element, who, text };
    this.#lines.set(id, line);
    return line;
  }

  #distanceToEnd() {
    return this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight;
  }
}
