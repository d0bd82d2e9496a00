// What can be taken away: the messages as JSON lines, what was heard as a WAV file.

import { byId } from "./dom.js";

/** Offer the files of the session on the stage. */
export function wireDownloads(room, say) {
  const link = byId("download-wav");
  const offer = () => {
    const id = room.selectedId;
    link.href = id === null ? "/sandbox/heard.wav" : `/sandbox/heard.wav?session_id=${encodeURIComponent(id)}`;
    link.download = id === null ? "heard.wav" : `heard-${id.slice(-6)}.wav`;
  };
  room.news.on("selected", offer);
  room.news.on("hello", offer);
  offer();
  byId("download-log").onclick = async () => {
    try {
      const entries = await (await fetch("/sandbox/log")).json();
      save(entries.map((entry) => JSON.stringify(entry) + "\n").join(""), "sandbox-log.jsonl", "application/jsonl");
    } catch {
      say("The sandbox did not answer, so there is no log to save.", "error");
    }
  };
  const menu = byId("downloads");
  menu.addEventListener("click", (event) => {
    if (event.target.closest("a, button")) menu.open = false;
  });
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
}

function save(text, name, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
