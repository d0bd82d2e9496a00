/**
 * Which picture is shown: the avatar's, whichever of its participants has one.
 *
 * When its session is replaced, the new participant may come before the old one leaves, or after.
 */

import { type Participant, type PipecatClient, RTVIEvent } from "@pipecat-ai/client-js";

export class Picture {
  /** Pictures of others that can be shown, the latest last. */
  private readonly tracks = new Map<MediaStreamTrack, Participant | undefined>();
  private avatar: string | null = null;

  /**
   * @param client The client, over any transport.
   * @param show Shows a picture, or that there is none.
   */
  constructor(
    client: PipecatClient,
    private readonly show: (track: MediaStreamTrack | null) => void,
  ) {
    client.on(RTVIEvent.TrackStarted, (track, participant) => {
      if (track.kind !== "video" || participant?.local) return;
      this.tracks.set(track, participant);
      this.choose();
    });
    client.on(RTVIEvent.TrackStopped, (track) => {
      if (this.tracks.delete(track)) this.choose();
    });
    client.on(RTVIEvent.Disconnected, () => {
      this.tracks.clear();
      this.choose();
    });
  }

  /** Take note of who the avatar is: another person's camera is not it. */
  expect(avatar: string | null): void {
    this.avatar = avatar;
    this.choose();
  }

  private choose(): void {
    const shown = [...this.tracks].filter(([, who]) => this.isAvatar(who)).pop();
    this.show(shown ? shown[0] : null);
  }

  private isAvatar(who: Participant | undefined): boolean {
    return this.avatar === null || who?.id === this.avatar;
  }
}
