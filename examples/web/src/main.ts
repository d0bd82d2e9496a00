/** The page: shows a call, and hands on what the person does. */

import { type AvatarNews, WORDS } from "./avatar";
import { Call, type CallView, type Phase } from "./call";
import type { Trouble } from "./troubles";

const element = <T extends HTMLElement = HTMLElement>(id: string): T => {
  const found = document.getElementById(id);
  if (!found) throw new Error(`there is no #${id} in the page`);
  return found as T;
};

const picture = element<HTMLVideoElement>("picture");
const state = element("state");
const stateWords = element("state-words");
const lobby = element("lobby");
const lobbyTitle = element("lobby-title");
const lobbyWords = element("lobby-words");
const start = element<HTMLButtonElement>("start");
const captions = element("captions");
const captionBefore = element("caption-before");
const captionNow = element("caption-now");
const trouble = element("trouble");
const troubleWhat = element("trouble-what");
const troubleRemedy = element("trouble-remedy");
const retry = element<HTMLButtonElement>("retry");
const controls = element("controls");
const microphone = element<HTMLButtonElement>("microphone");
const microphoneWords = element("microphone-words");
const subtitles = element<HTMLButtonElement>("subtitles");
const leave = element<HTMLButtonElement>("leave");
const news = element("news");

let call: Call | undefined;
let wantsCaptions = true;

const view: CallView = {
  phase(phase: Phase, why?: Trouble) {
    document.body.dataset.phase = phase;
    const isInCall = phase === "talking";
    lobby.hidden = isInCall || phase === "starting";
    controls.hidden = phase !== "talking" && phase !== "starting";
    microphone.disabled = !isInCall;
    state.hidden = !lobby.hidden;
    if (phase === "starting") {
      showState("joining", "Connecting");
      say("Connecting.");
      leave.focus();
    } else if (isInCall) {
      showState("joining", WORDS.joining);
      say("You are in the call.");
      if (document.activeElement === leave) microphone.focus();
    } else {
      view.device(null);
      view.voice(false);
      lobbyTitle.textContent = why ? why.what : "The call has ended";
      lobbyWords.textContent = why ? why.remedy : "Thank you for talking.";
      start.textContent = why ? "Try again" : "Call again";
      say(why ? `${why.what} ${why.remedy}` : "The call has ended.");
      start.focus();
    }
  },

  avatar({ state, reason }: AvatarNews) {
    showState(state, WORDS[state]);
    // Whether it speaks is heard; that it comes or goes is not.
    if (state !== "speaking") say(reason || WORDS[state]);
  },

  picture(track) {
    picture.hidden = track === null;
    picture.srcObject = track && new MediaStream([track]);
    if (track) void picture.play().catch(() => {}); // It plays as soon as the browser lets it.
  },

  caption(before, now) {
    captionBefore.textContent = before;
    captionNow.textContent = now;
    showCaptions();
  },

  microphone(isOn) {
    microphone.toggleAttribute("data-off", !isOn);
    microphoneWords.textContent = isOn ? "Mute" : "Unmute";
  },

  voice(isHeard) {
    document.body.toggleAttribute("data-voice", isHeard);
  },

  device(why) {
    trouble.hidden = why === null;
    troubleWhat.textContent = why?.what ?? "";
    troubleRemedy.textContent = why?.remedy ?? "";
  },
};

function showState(name: string, words: string): void {
  document.body.dataset.avatar = name;
  stateWords.textContent = words;
}

/** For a screen reader. */
function say(words: string): void {
  if (news.textContent !== words) news.textContent = words;
}

function showCaptions(): void {
  captions.hidden = !wantsCaptions || !captionNow.textContent;
}

start.addEventListener("click", () => {
  call = new Call(view);
  void call.start();
});
leave.addEventListener("click", () => void call?.leave());
microphone.addEventListener("click", () => call?.toggleMicrophone());
retry.addEventListener("click", () => call?.retryMicrophone());
subtitles.addEventListener("click", () => {
  wantsCaptions = !wantsCaptions;
  subtitles.setAttribute("aria-pressed", String(wantsCaptions));
  showCaptions();
});
document.addEventListener("keydown", (event) => {
  // A key that is held down must not start a call, and hang up with the button that follows.
  if (event.repeat && event.key === "Enter") event.preventDefault();
});
// Letters count only while the controls have the focus: people who speak to their browser, or
// hit a key by mistake, are not muted by it.
controls.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const key = event.key.toLowerCase();
  if (key === "m") microphone.click();
  if (key === "c") subtitles.click();
});
addEventListener("pagehide", () => void call?.leave());
