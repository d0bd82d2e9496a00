/** One call, from the first ring to the last word. */

import {
  type Participant,
  PipecatClient,
  RTVIEvent,
  type TransportConnectionParams,
} from "@pipecat-ai/client-js";
import { type AvatarNews, readAvatarNews } from "./avatar";
import { Captions } from "./captions";
import { Picture } from "./picture";
import { type Room, openRoom } from "./rooms";
import { BOT_TROUBLE, type Trouble, deviceTrouble, startTrouble } from "./troubles";
import { playVoices } from "./voices";

/** How long a room may be empty before that means that the bot has hung up. */
const EMPTY_ROOM_MS = 10_000;

export type Phase = "idle" | "starting" | "talking" | "ended";

/** What the page shows of a call. */
export interface CallView {
  phase(phase: Phase, why?: Trouble): void;
  avatar(news: AvatarNews): void;
  picture(track: MediaStreamTrack | null): void;
  caption(before: string, now: string): void;
  microphone(isOn: boolean): void;
  voice(isHeard: boolean): void;
  device(trouble: Trouble | null): void;
}

export class Call {
  private client: PipecatClient | undefined;
  private stopVoices = () => {};
  private readonly others = new Set<string>();
  private emptyTimer: number | undefined;
  private deviceTrouble: Trouble | null = null;
  private isOver = false;

  /** @param view Shows whatever comes of it. */
  constructor(private readonly view: CallView) {}

  /** Call the bot. */
  async start(): Promise<void> {
    this.view.phase("starting");
    try {
      await this.connect();
    } catch (error) {
      // A browser that gives no microphone may give no call either.
      if (!this.isOver) this.end(this.deviceTrouble ?? startTrouble(error));
    }
    // Who left meanwhile may have been given the microphone since.
    if (this.isOver) await this.client?.disconnect();
  }

  /** Put the microphone on or off. */
  toggleMicrophone(): void {
    this.client?.enableMic(!this.client.isMicEnabled);
    this.showMicrophone();
  }

  /** Ask the browser for the microphone again. */
  retryMicrophone(): void {
    this.showDevice(null);
    this.client?.enableMic(true);
    this.showMicrophone();
  }

  /** Hang up. */
  async leave(): Promise<void> {
    this.end();
    await this.client?.disconnect();
  }

  /** Step by step: the client goes on with all of them, also after it was told to disconnect. */
  private async connect(): Promise<void> {
    const room = await openRoom();
    if (this.isOver) return;
    const client = this.listen(room);
    await client.initDevices();
    if (this.isOver) return;
    const seat = await client.startBot(room.start);
    if (this.isOver) return;
    await client.connect(seat as TransportConnectionParams);
  }

  private listen(room: Room): PipecatClient {
    const client = new PipecatClient({
      transport: room.transport,
      enableMic: true,
      // Each avatar counts as the bot, and one leaves whenever its session is replaced.
      disconnectOnBotDisconnect: false,
    });
    this.client = client;
    this.stopVoices = playVoices(client);
    const picture = new Picture(client, (track) => this.view.picture(track));
    new Captions(client, (before, now) => this.view.caption(before, now));
    client.on(RTVIEvent.ServerMessage, (message) => {
      const news = readAvatarNews(message);
      if (!news) return;
      picture.expect(news.avatar);
      this.view.avatar(news);
    });
    client.on(RTVIEvent.Connected, () => {
      this.view.phase("talking");
      this.showMicrophone();
      client.on(RTVIEvent.Error, ({ data }) => {
        if ((data as { fatal?: boolean }).fatal) this.end(BOT_TROUBLE); // The client hangs up now.
      });
    });
    client.on(RTVIEvent.Disconnected, () => this.end());
    client.on(RTVIEvent.ParticipantConnected, (who) => this.came(who));
    client.on(RTVIEvent.ParticipantLeft, (who) => this.went(who));
    client.on(RTVIEvent.BotStartedSpeaking, () => this.view.voice(true));
    client.on(RTVIEvent.BotStoppedSpeaking, () => this.view.voice(false));
    client.on(RTVIEvent.DeviceError, (error) => {
      this.showDevice(deviceTrouble(error));
      this.view.microphone(false);
    });
    client.on(RTVIEvent.MicUpdated, (microphone) => {
      if (!microphone.deviceId) return;
      this.showDevice(null);
      this.showMicrophone();
    });
    return client;
  }

  private showMicrophone(): void {
    this.view.microphone(this.client?.isMicEnabled ?? false);
  }

  private showDevice(trouble: Trouble | null): void {
    this.deviceTrouble = trouble;
    this.view.device(trouble);
  }

  private came(who: Participant): void {
    if (who.local) return;
    this.others.add(who.id);
    clearTimeout(this.emptyTimer);
  }

  private went(who: Participant): void {
    this.others.delete(who.id);
    if (this.others.size > 0 || this.isOver) return;
    clearTimeout(this.emptyTimer);
    this.emptyTimer = window.setTimeout(() => void this.leave(), EMPTY_ROOM_MS);
  }

  private end(why?: Trouble): void {
    if (this.isOver) return;
    this.isOver = true;
    clearTimeout(this.emptyTimer);
    this.stopVoices();
    this.view.phase("ended", why);
  }
}
