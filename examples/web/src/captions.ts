/**
 * What is being said, in step with the voice.
 *
 * Pipecat tells of each segment of speech how much of it was spoken, word by word where the
 * speech synthesis gives word times, else when it was spoken. The bot tells it when it is heard,
 * not when it is made.
 */

import { type BotOutputData, type PipecatClient, RTVIEvent } from "@pipecat-ai/client-js";

/** How long a caption stays when nothing follows it. */
const STAYS_MS = 6000;

export class Captions {
  private segment: number | undefined;
  private text = "";
  private before = "";
  private timer: number | undefined;

  /**
   * @param client The client, over any transport.
   * @param show Shows the line before, and what was said of the present one.
   */
  constructor(
    client: PipecatClient,
    private readonly show: (before: string, now: string) => void,
  ) {
    client.on(RTVIEvent.BotOutput, (output) => this.take(output));
    client.on(RTVIEvent.Disconnected, () => this.clear());
  }

  private take(output: BotOutputData): void {
    const said = spoken(output);
    if (!said) return;
    if (output.segment_id === undefined || output.segment_id !== this.segment) {
      this.before = this.text;
      this.segment = output.segment_id;
    }
    this.text = said;
    this.show(this.before, this.text);
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.clear(), STAYS_MS);
  }

  private clear(): void {
    clearTimeout(this.timer);
    this.segment = undefined;
    this.text = this.before = "";
    this.show("", "");
  }
}

/** What was spoken of a segment so far; nothing if none of it was, or will be. */
function spoken(output: BotOutputData): string {
  if (output.will_be_spoken === false) return "";
  if (output.spoken_status === "new") return "";
  return (output.spoken_progress?.accumulated_text || output.text).trim();
}
