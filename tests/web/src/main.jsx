// Pipecat's client as people use it, three ways: `?client=plain`, `react` or `voices`.

import "../ear.js";
import { PipecatClient, RTVIEvent } from "@pipecat-ai/client-js";
import { PipecatClientAudio, PipecatClientProvider, PipecatClientVideo } from "@pipecat-ai/client-react";
import { DailyTransport } from "@pipecat-ai/daily-transport";
import { createRoot } from "react-dom/client";
import { playVoices } from "../../../examples/web/src/voices.ts";

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

const ways = {
  plain: playTheLast,
  voices: () => playVoices(client),
  react: () =>
    createRoot(root).render(
      <PipecatClientProvider client={client}>
        <PipecatClientVideo participant="bot" />
        <PipecatClientAudio />
      </PipecatClientProvider>,
    ),
};
ways[query.get("client") ?? "plain"]();

const happened = [];
for (const event of ["BotConnected", "BotDisconnected", "Disconnected", "BotReady"]) {
  client.on(RTVIEvent[event], () => happened.push(event));
}

globalThis.page = {
  client,
  happened,
  /** Join; the promise of the bot's being ready is left to whoever waits for it. */
  connect() {
    client.connect({ url: "https://example.daily.co/room" }).catch(() => {});
  },
  get isConnected() {
    return client.connected;
  },
};
