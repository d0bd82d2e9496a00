// Trouble on demand: every fault as a control, and what came of it.

import { byId, make, onceAFrame, setText } from "./dom.js";
import { pageNow } from "./sandbox-clock.js";
import { wordsOf } from "./wire-words.js";

const AFTERMATH_LINES = 20;
const PLAIN_SPEECH = new Set(["agent.speak", "agent.speak.confirmed", "speech.queued"]);

/** The controls and what happened since the last of them was used. */
export class Trouble {
  #room;
  #clock;
  #say;
  #cards = [];
  #since = null; // the last order: its `title`, its time, the `kinds` of its faults, and whether it `waits`
  #draw = onceAFrame(() => this.#redraw());

  /** say: tells the person something. */
  constructor(room, clock, say) {
    this.#room = room;
    this.#clock = clock;
    this.#say = say;
    for (const topic of ["faults", "entries", "sessions", "hello", "selected"]) room.news.on(topic, this.#draw);
    byId("clear-faults").onclick = () => this.#ask("DELETE", "/sandbox/faults");
    this.#load();
  }

  async #load() {
    const troubles = await this.#ask("GET", "/sandbox/troubles");
    if (troubles === null) return;
    const groups = Map.groupBy(troubles, (trouble) => trouble.group);
    byId("troubles").replaceChildren(
      ...[...groups].map(([group, members]) =>
        make("section", {}, make("h3", {}, group), make("ul", {}, ...members.map((trouble) => this.#card(trouble)))),
      ),
    );
    this.#redraw();
  }

  #card(trouble) {
    const status = make("span", { class: "armed" });
    const card = { trouble, status, button: null, on: null }; // `on`: its lasting fault, while that is armed
    const push = () => (card.on ? this.#ask("DELETE", `/sandbox/faults/${card.on.number}`) : this.#order(trouble, Number(range?.value)));
    const button = make("button", { type: "button", class: "quiet", onclick: push });
    card.button = button;
    const titleId = `trouble-${trouble.id}`;
    button.setAttribute("aria-describedby", titleId);
    button.dataset.trouble = trouble.id;
    let range = null;
    let adjust = null;
    if (trouble.adjust) {
      const { min, max, step, unit, label } = trouble.adjust;
      const output = make("output", {});
      range = make("input", { type: "range", min, max, step, "aria-label": label, oninput: () => setText(output, `${range.value} ${unit}`) });
      range.value = trouble.adjust.default;
      setText(output, `${range.value} ${unit}`);
      adjust = make("label", { class: "adjust" }, make("span", {}, label), range, output);
    }
    const element = make(
      "li", { class: "trouble" },
      make("div", {}, make("h4", { id: titleId }, trouble.title), make("p", {}, trouble.sentence), adjust),
      make("div", { class: "do" }, button, status),
    );
    this.#cards.push(card);
    return element;
  }

  async #order({ title, faults, action, adjust }, value) {
    const sessionId = this.#room.target?.session_id;
    const atSecs = this.#clock.at(pageNow());
    if (faults !== null) {
      const ordered = faults.map((fault) => (adjust ? { ...fault, [adjust.field]: value } : fault));
      if ((await this.#ask("POST", "/sandbox/faults", ordered)) === null) return;
    }
    // Faults of the next session are armed, session or not; what ends one needs one.
    if (action !== null && sessionId && (await this.#ask("POST", `/sandbox/sessions/${encodeURIComponent(sessionId)}/${action}`)) === null) return;
    this.#since = { atSecs, title, waits: action === null, kinds: new Set(faults?.map((fault) => fault.kind)) };
    this.#redraw();
  }

  /** Ask the sandbox; null, and a word to the person, if it refuses. */
  async #ask(method, path, body) {
    try {
      const response = await fetch(path, { method, ...(body && { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }) });
      const answer = await response.json();
      if (response.ok) return answer;
      this.#say(`The sandbox refused it: ${answer.error?.message ?? answer.error ?? response.status}`, "warning");
    } catch {
      this.#say("The sandbox does not answer.", "error");
    }
    return null;
  }

  #redraw() {
    const active = this.#room.faults.filter(({ fault, struck }) => fault.times === null || struck < (fault.times ?? 1));
    byId("clear-faults").hidden = active.length === 0;
    setText(byId("trouble-count"), active.length > 0 ? String(active.length) : "");
    for (const card of this.#cards) {
      const { trouble, status, button } = card;
      if (trouble.faults === null) {
        setText(button, "Do it");
        button.disabled = this.#room.target === null;
        setText(status, button.disabled ? "no session lives" : "");
        continue;
      }
      const armed = this.#room.faults.findLast((one) => fits(one.fault, trouble));
      setText(status, armed ? standing(armed) : "");
      status.classList.toggle("waiting", armed !== undefined && active.includes(armed));
      card.on = trouble.lasting && armed ? armed : null;
      setText(button, card.on ? "Turn off" : trouble.lasting ? "Turn on" : "Do it");
    }
    this.#tellAftermath();
  }

  #tellAftermath() {
    byId("aftermath").hidden = this.#since === null;
    if (this.#since === null) return;
    const later = this.#room.entries.filter((entry) => entry.at_secs >= this.#since.atSecs);
    // What is ordered for the next speech, say, begins when it strikes, however long that takes.
    const struck = later.findIndex((entry) => entry.what === "fault" && this.#since.kinds.has(entry.kind));
    const begun = this.#since.waits ? later.slice(struck < 0 ? later.length : struck) : later;
    const news = begun.filter((entry) => !PLAIN_SPEECH.has(entry.what));
    const lines = counted(news);
    setText(byId("aftermath-title"), `“${this.#since.title}”, and what happened then`);
    const first = lines[0]?.entry.at_secs ?? 0;
    byId("aftermath-lines").replaceChildren(
      ...lines.slice(0, AFTERMATH_LINES).map(({ entry, words, times }) =>
        make(
          "li", { class: words.bad ? "bad" : "" },
          make("span", { class: "time" }, `+${(entry.at_secs - first).toFixed(2)}`),
          make("span", { class: "said" }, words.text),
          times > 1 ? make("span", { class: "times" }, `× ${times}`) : null,
        ),
      ),
      ...(lines.length === 0 ? [make("li", {}, make("span", { class: "time" }, "…"), make("span", {}, "Nothing yet: it waits for its moment."))] : []),
    );
    byId("aftermath").scrollTop = byId("aftermath").scrollHeight;
  }
}

/** Entries in words. A fault that strikes again, and what is said twice in a row, is counted where it stands. */
function counted(entries) {
  const lines = [];
  const strikes = new Map();
  for (const entry of entries) {
    const words = wordsOf(entry);
    if (words === null) continue;
    const before = entry.what === "fault" ? strikes.get(words.text) : lines.at(-1);
    if (before?.words.text === words.text) {
      before.times += 1;
      continue;
    }
    const line = { entry, words, times: 1 };
    lines.push(line);
    if (entry.what === "fault") strikes.set(words.text, line);
  }
  return lines;
}

/** Whether an armed fault is the one of a control; of both, only what is not the usual is listed. */
function fits(armed, trouble) {
  const ordered = trouble.faults[0];
  const names = new Set([...Object.keys(ordered), ...Object.keys(armed)]);
  names.delete(trouble.adjust?.field);
  return [...names].every((name) => JSON.stringify(armed[name]) === JSON.stringify(ordered[name]));
}

function standing({ fault, struck }) {
  if (fault.times === null) return struck > 0 ? `on, struck ${struck} ×` : "on";
  return struck >= (fault.times ?? 1) ? "struck" : "armed";
}
