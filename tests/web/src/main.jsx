// Pipecat's client as people use it: `?client=plain`, `react`, `voices` or `react-voices`.

import "../ear.js";
import { PipecatClient, RTVIEvent } from "@pipecat-ai/client-js";
import { PipecatClientAudio, PipecatClientProvider, PipecatClientVideo } from "@pipecat-ai/client-react";
import { DailyTransport } from "@pipecat-ai/daily-transport";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Voices } from "./Voices.tsx";
import { playVoices } from "./voices.ts";

const query = new URLSearchParams(location.search);
const root = document.getElementById("root");

const client = new PipecatClient({
  transport: new DailyTransport(),
  disconnectOnBotDisconnect: query.get("stays") !== "yes",
});

/** As Pipecat's quick start does it: one element, that is given the last track. */
function playTheLast() {
  const audio = document.createElement("audio");
  const video = document.createElement("video");
  audio.autoplay = video.autoplay = video.muted = true;
  root.append(audio, video);
  client.on(RTVIEvent.TrackStarted, (track, participant) => {
    if (participant?.local) return;
    (track.kind === "video" ? video : audio).srcObject = new MediaStream([track]);
  });
}

/** What React shows, with whatever plays the sound. */
function render(Sound) {
  createRoot(root).render(
    <StrictMode>
      <PipecatClientProvider client={client}>
        <PipecatClientVideo participant="bot" />
        <Sound />
      </PipecatClientProvider>
    </StrictMode>,
  );
}

const ways = {
  plain: playTheLast,
  react: () => render(PipecatClientAudio),
  voices: () => playVoices(client),
  "react-voices": () => render(Voices),
};
const end = ways[query.get("client") ?? "plain"]();

const happened = [];
for (const event of ["BotConnected", "BotDisconnected", "Disconnected", "BotReady"]) {
  client.on(RTVIEvent[event], () => happened.push(event));
}

globalThis.page = {
  client,
  happened,
  /** Ends the playing, where the client can. */
  end,
  /** Join; the promise of the bot's being ready is left to whoever waits for it. */
  connect() {
    client.connect({ url: "https://example.daily.co/room" }).catch(() => {});
  },
  get isConnected() {
    return client.connected;
  },
};
