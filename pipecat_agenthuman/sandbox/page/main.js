// The room: puts the parts together.

import { Connection } from "./connection.js";
import { Details } from "./details.js";
import { byId, setText } from "./dom.js";
import { wireDownloads } from "./downloads.js";
import { Filter } from "./filter.js";
import { Memory } from "./memory.js";
import { MessageList } from "./message-list.js";
import { Microphone } from "./microphone.js";
import { notify } from "./notices.js";
import { Player } from "./player.js";
import { RoomState } from "./room-state.js";
import { SandboxClock } from "./sandbox-clock.js";
import { wireSound } from "./sound-switch.js";
import { Stage } from "./stage.js";
import { wireTabs } from "./tabs.js";
import { Talk } from "./talk.js";
import { wireTheme } from "./theme.js";
import { Timeline } from "./timeline.js";
import { Trouble } from "./trouble.js";
import { UtteranceList } from "./utterance-list.js";

const SAMPLE_RATE = 16000;

wireTheme();
const clock = new SandboxClock();
const room = new RoomState();
const player = new Player(clock, SAMPLE_RATE);
const taker = {
  opened: () => showConnection("In the room", "open"),
  message: take,
  speech(speech) {
    room.takeSpeech(speech);
    player.take(speech);
  },
  closed(why) {
    player.clear();
    microphone.lost();
    showConnection(why, "lost");
  },
};
const connection = new Connection(clock, taker);
const stage = new Stage(room, clock);
const filter = new Filter(room);
const timeline = new Timeline(room, clock, filter);
const utterances = new UtteranceList(room, clock, filter);
const messages = new MessageList(room, filter);
const details = new Details();
const talk = new Talk(room, connection);
const microphone = new Microphone(room, connection, notify);
const memory = new Memory(room);
new Trouble(room, clock, notify);

wireTabs(byId("desk-tabs"), () => messages.showNewest());
wireTabs(byId("talk-tabs"), () => {
  talk.showNewest();
  memory.showNewest();
});
wireDownloads(room, notify);
wireSound(player);
timeline.onPick = (thing) => details.show(thing);
messages.onPick = (thing) => details.show(thing);
utterances.onPick = (utterance) => details.show({ utterance });
timeline.onPause = (isPaused) => {
  messages.pause(isPaused);
  byId("pause").setAttribute("aria-pressed", String(isPaused));
  setText(byId("pause-label"), isPaused ? "Go on" : "Pause");
};
byId("pause").onclick = () => timeline.pause(!timeline.isPaused);
byId("clear").onclick = () => room.clear();
byId("zoom-in").onclick = () => timeline.zoom(1);
byId("zoom-out").onclick = () => timeline.zoom(-1);
byId("copy").onclick = async () => {
  await navigator.clipboard.writeText(byId("environment").textContent);
  notify("Copied. The key that goes with it stands in the terminal.");
};

room.news.on("notice", ({ text, level }) => notify(text, level));
room.news.on("selected", () => player.listenTo(room.selectedId));
room.news.on("forgotten", (sessionId) => player.forget(sessionId));
room.news.on("sessions", () => {
  for (const session of room.sessions.values()) player.setAudible(session.session_id, session.avatar_in_room);
});

function take(message) {
  if (message.type === "hello") player.clear();
  if (message.type === "cut") player.cut(message.session_id, message.at_secs);
  room.take(message);
}

function showConnection(text, state) {
  setText(byId("connection"), text);
  byId("connection").dataset.state = state;
  document.body.classList.toggle("disconnected", state === "lost");
}

connection.open();

// For the browser's console, and for the tests that look into a running page.
globalThis.agentHumanRoom = { room, clock, player, stage, timeline, talk };
