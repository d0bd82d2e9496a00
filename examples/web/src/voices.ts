/**
 * Who is heard in a call with an avatar: everybody who is there.
 *
 * Pipecat's client takes each remote participant for "the bot", and its own components play one
 * track, the one that started last. In a call with an avatar the voice goes to and fro: the
 * avatar's participant has it, or the bot's while there is no avatar. The bot sees to it that
 * only one of them speaks; a page only has to play them all.
 */

import { type Participant, type PipecatClient, RTVIEvent } from "@pipecat-ai/client-js";

/**
 * Play the microphone of every remote participant, each in an element of its own.
 *
 * Call it before `client.connect()`. Where the browser forbids sound before the person has done
 * something on the page, it begins with the next click or key.
 *
 * @param client The client, over any transport.
 * @returns A function that ends it.
 */
export function playVoices(client: PipecatClient): () => void {
  const players = new Map<MediaStreamTrack, HTMLAudioElement>();
  let speakerId: string | undefined;

  const start = (track: MediaStreamTrack, participant?: Participant) => {
    if (track.kind !== "audio" || participant?.local || players.has(track)) return;
    const player = new Audio();
    player.srcObject = new MediaStream([track]);
    players.set(track, player);
    void sendTo(player, speakerId);
    void play(player);
  };

  const stop = (track: MediaStreamTrack) => {
    const player = players.get(track);
    if (!player) return;
    players.delete(track);
    player.pause();
    player.srcObject = null;
  };

  const chooseSpeaker = (speaker: MediaDeviceInfo) => {
    speakerId = speaker.deviceId;
    for (const player of players.values()) void sendTo(player, speakerId);
  };

  const allowed = () => {
    for (const player of players.values()) if (player.paused) void play(player);
  };

  const stopAll = () => {
    for (const track of [...players.keys()]) stop(track);
  };

  client.on(RTVIEvent.TrackStarted, start);
  client.on(RTVIEvent.TrackStopped, stop);
  client.on(RTVIEvent.SpeakerUpdated, chooseSpeaker);
  client.on(RTVIEvent.Disconnected, stopAll);
  document.addEventListener("click", allowed);
  document.addEventListener("keydown", allowed);
  const already = client.tracks().bot?.audio;
  if (already) start(already);

  return () => {
    client.off(RTVIEvent.TrackStarted, start);
    client.off(RTVIEvent.TrackStopped, stop);
    client.off(RTVIEvent.SpeakerUpdated, chooseSpeaker);
    client.off(RTVIEvent.Disconnected, stopAll);
    document.removeEventListener("click", allowed);
    document.removeEventListener("keydown", allowed);
    stopAll();
  };
}

/** Begin to play; a browser that forbids it now is asked again by whoever calls next. */
async function play(player: HTMLAudioElement): Promise<void> {
  try {
    await player.play();
  } catch {
    // Not before a gesture, or ended meanwhile.
  }
}

/** Choose the loudspeaker, where the browser can. */
async function sendTo(player: HTMLAudioElement, speakerId: string | undefined): Promise<void> {
  if (!speakerId || !("setSinkId" in player)) return;
  try {
    await player.setSinkId(speakerId);
  } catch {
    // The device is gone: the default one plays.
  }
}
