// Words to the person, which go by themselves.

import { byId, make } from "./dom.js";

const SHOWN_MS = { info: 5000, warning: 8000, error: 12_000 };
const MOST = 3;

/** Show a text; `level` is "info", "warning" or "error". */
export function notify(text, level = "info") {
  const list = byId("notices");
  const notice = make(
    "div", { class: `notice ${level}` },
    make("span", {}, text),
    make("button", { type: "button", class: "icon", "aria-label": "Dismiss", onclick: () => notice.remove() }, "×"),
  );
  list.append(notice);
  while (list.childElementCount > MOST) list.firstChild.remove();
  setTimeout(() => notice.remove(), SHOWN_MS[level] ?? SHOWN_MS.info);
}
