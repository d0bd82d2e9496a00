/**
 * A LiveKit room for Pipecat's client, which has no transport for one of its own.
 *
 * What it does is what this page needs: a microphone, everybody's tracks, and the messages between
 * client and bot, which travel as data packets.
 */

import {
  type DeviceError,
  DeviceError as DeviceFailure,
  type DeviceErrorType,
  type Participant,
  type PipecatClientOptions,
  RTVIMessage,
  type Tracks,
  Transport,
  type TransportState,
} from "@pipecat-ai/client-js";
import {
  type LocalAudioTrack,
  MediaDeviceFailure,
  type RemoteParticipant,
  Room,
  RoomEvent,
  createLocalAudioTrack,
} from "livekit-client";

interface ConnectionParams {
  url: string;
  token: string;
}

type NoDevice = Record<string, never>;

const FAILURES: Partial<Record<MediaDeviceFailure, DeviceErrorType>> = {
  [MediaDeviceFailure.PermissionDenied]: "permissions",
  [MediaDeviceFailure.NotFound]: "not-found",
  [MediaDeviceFailure.DeviceInUse]: "in-use",
};

export class LiveKitTransport extends Transport {
  private readonly room = new Room({ adaptiveStream: false, dynacast: true });
  private microphone: LocalAudioTrack | undefined;
  private wantsMicrophone = true;
  private isAwaitingBot = false;
  private isOpening = false;

  initialize(options: PipecatClientOptions, onMessage: (message: RTVIMessage) => void): void {
    this._options = options;
    this._callbacks = options.callbacks ?? {};
    this._onMessage = onMessage;
    this.wantsMicrophone = options.enableMic ?? true;
    this.listen();
    this.state = "disconnected";
  }

  get state(): TransportState {
    return this._state;
  }

  set state(state: TransportState) {
    if (this._state === state) return;
    this._state = state;
    this._callbacks.onTransportStateChanged?.(state);
  }

  // --- the room -----------------------------------------------------------------------------

  _validateConnectionParams(params?: unknown): ConnectionParams {
    const { url, token } = (params ?? {}) as Partial<ConnectionParams>;
    if (!url || !token) throw new Error("the answer to /start names no LiveKit room");
    return { url, token };
  }

  async _connect(params?: ConnectionParams): Promise<void> {
    const { url, token } = this._validateConnectionParams(params);
    this.state = "connecting";
    await this.room.connect(url, token);
    if (this.microphone) await this.room.localParticipant.publishTrack(this.microphone);
    this.state = "connected";
    this._callbacks.onConnected?.();
    for (const someone of this.room.remoteParticipants.values()) this.joined(someone);
  }

  async _disconnect(): Promise<void> {
    this.state = "disconnecting";
    this.microphone?.stop();
    this.microphone = undefined;
    await this.room.disconnect();
    this.disconnected();
  }

  /** Whoever comes later has missed it, and the bot may come later: it is told until it answers. */
  sendReadyMessage(): void {
    this.state = "ready";
    this.isAwaitingBot = true;
    this.sendMessage(RTVIMessage.clientReady());
  }

  sendMessage(message: RTVIMessage): void {
    const data = new TextEncoder().encode(JSON.stringify(message));
    void this.room.localParticipant.publishData(data, { reliable: true });
  }

  tracks(): Tracks {
    return { local: { audio: this.microphone?.mediaStreamTrack } };
  }

  private listen(): void {
    this.room
      .on(RoomEvent.ParticipantConnected, (who) => this.joined(who))
      .on(RoomEvent.ParticipantDisconnected, (who) => {
        this._callbacks.onParticipantLeft?.(asParticipant(who));
        this._callbacks.onBotDisconnected?.(asParticipant(who));
      })
      .on(RoomEvent.TrackSubscribed, (track, _, who) => {
        this._callbacks.onTrackStarted?.(track.mediaStreamTrack, asParticipant(who));
      })
      .on(RoomEvent.TrackUnsubscribed, (track, _, who) => {
        this._callbacks.onTrackStopped?.(track.mediaStreamTrack, asParticipant(who));
      })
      .on(RoomEvent.DataReceived, (data) => this.received(data))
      .on(RoomEvent.Disconnected, () => this.disconnected());
  }

  private joined(who: RemoteParticipant): void {
    this._callbacks.onParticipantJoined?.(asParticipant(who));
    this._callbacks.onBotConnected?.(asParticipant(who));
    if (this.isAwaitingBot) this.sendMessage(RTVIMessage.clientReady());
  }

  private received(data: Uint8Array): void {
    const message = parsed(data);
    if (message?.label !== "rtvi-ai") return;
    if (message.type === "bot-ready") this.isAwaitingBot = false;
    this._onMessage(message);
  }

  private disconnected(): void {
    if (this.state === "disconnected") return;
    this.state = "disconnected";
    this._callbacks.onDisconnected?.();
  }

  // --- devices ------------------------------------------------------------------------------

  async initDevices(): Promise<void> {
    this.state = "initializing";
    if (this.wantsMicrophone) await this.openMicrophone();
    this._callbacks.onAvailableMicsUpdated?.(await this.getAllMics());
    this.state = "initialized";
  }

  enableMic(on: boolean): void {
    this.wantsMicrophone = on;
    if (this.microphone) void (on ? this.microphone.unmute() : this.microphone.mute());
    else if (on) void this.openMicrophone();
  }

  get isMicEnabled(): boolean {
    return this.wantsMicrophone && this.microphone !== undefined;
  }

  private async openMicrophone(): Promise<void> {
    if (this.microphone || this.isOpening) return;
    this.isOpening = true;
    let opened: LocalAudioTrack;
    try {
      opened = await createLocalAudioTrack();
    } catch (error) {
      this._callbacks.onDeviceError?.(deviceError(error));
      return;
    } finally {
      this.isOpening = false;
    }
    // The browser may have asked for long: who has left by then is not listened to.
    if (this.state === "disconnecting" || this.state === "disconnected") {
      opened.stop();
      return;
    }
    this.microphone = opened;
    const deviceId = await this.microphone.getDeviceId();
    this._callbacks.onMicUpdated?.({ deviceId } as MediaDeviceInfo);
    if (this.room.state === "connected") {
      await this.room.localParticipant.publishTrack(this.microphone);
    }
  }

  getAllMics = () => Room.getLocalDevices("audioinput", false);
  getAllCams = () => Room.getLocalDevices("videoinput", false);
  getAllSpeakers = () => Room.getLocalDevices("audiooutput", false);

  updateMic(id: string): void {
    void this.room.switchActiveDevice("audioinput", id);
  }

  updateSpeaker(id: string): void {
    this._callbacks.onSpeakerUpdated?.({ deviceId: id } as MediaDeviceInfo);
  }

  get selectedMic(): MediaDeviceInfo | NoDevice {
    return {};
  }

  get selectedSpeaker(): MediaDeviceInfo | NoDevice {
    return {};
  }

  // The person's camera and screen stay off in this page.

  updateCam(): void {}

  enableCam(): void {}

  enableScreenShare(): void {}

  get selectedCam(): NoDevice {
    return {};
  }

  get isCamEnabled(): boolean {
    return false;
  }

  get isSharingScreen(): boolean {
    return false;
  }
}

function asParticipant(who: { identity: string; name?: string }): Participant {
  return { id: who.identity, name: who.name ?? "", local: false };
}

function parsed(data: Uint8Array): RTVIMessage | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(data)) as RTVIMessage;
  } catch {
    return undefined; // Not for us.
  }
}

function deviceError(error: unknown): DeviceError {
  const failure = MediaDeviceFailure.getFailure(error);
  const type = (failure && FAILURES[failure]) ?? "unknown";
  return new DeviceFailure(["mic"], type, error instanceof Error ? error.message : undefined);
}
